"""`birdembed models`."""

import json

from birdembed.cli import main


def test_models(capsys):
    assert main(["models", "--json"]) == 0
    models = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert models["birds477"]["here"] is True
    assert {"sscd", "resnet50"} <= set(models)
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["birds477", "ready"]
