"""`birdembed export`."""

import json

import pytest

from birdembed.cli import main


def test_export(folder, tmp_path, capsys):
    pytest.importorskip("onnx")
    target = str(tmp_path / "m.onnx")
    assert main(["export", "-o", target, "--model", folder, "--normalize"]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    assert main(["export", "-o", target, "--model", folder, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["file"], values["model"], values["dim"]) == (target, folder, 8)
    assert main(["export", "-o", target, "--model", folder, "--head"]) == 1
    assert "no classifier" in capsys.readouterr().err
