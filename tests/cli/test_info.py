"""`birdembed info`."""

import json
import shutil

from birdembed.cli import main


def test_info(capsys):
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert {"version", "onednn", "isa", "cpu_features", "threads", "precisions"} <= set(facts)
    assert main(["info"]) == 0
    assert facts["version"] in capsys.readouterr().out


def test_info_check(folder, tmp_path, capsys):
    assert main(["info", "--check", folder]) == 0
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    weights = bytearray((changed / "model.safetensors").read_bytes())
    weights[-3] ^= 1  # in the last number of some tensor
    (changed / "model.safetensors").write_bytes(weights)
    capsys.readouterr()
    assert main(["info", "--check", str(changed)]) == 1
    assert "fingerprint" in capsys.readouterr().err
