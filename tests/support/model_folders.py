"""What tests of model folders put into them, and how they change them."""

import json

BIRDS = ["kea", "Steller's jay", "årfugl"]


def edit(folder, **values):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **values}), encoding="utf-8")


def edit_cfg(folder, **values):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    edit(folder, pretrained_cfg={**config["pretrained_cfg"], **values})
