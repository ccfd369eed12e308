"""`birdembed verify`."""

import json

from birdembed.cli import main


def test_verify(damaged, tmp_path, capsys):
    assert main(["verify", str(damaged)]) == 1
    shown = capsys.readouterr()
    (line,) = shown.out.splitlines()
    assert line.startswith("bad\t")
    assert "bad.jpg" in line
    assert main(["verify", str(damaged / "ROBIN"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"bad": [], "suspect": []}
