"""What tests of model folders put into them, and how they change them."""

import json
import shutil

import pytest

BIRDS = ["kea", "Steller's jay", "årfugl"]


@pytest.fixture
def big_folder(tmp_path):
    """A folder for whole models, emptied at once: pytest keeps tmp_path for several runs.

    The conftest.py of a folder that needs it imports it.
    """
    yield tmp_path / "big"
    shutil.rmtree(tmp_path / "big", ignore_errors=True)


def edit(folder, **values):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **values}), encoding="utf-8")


def edit_cfg(folder, **values):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    edit(folder, pretrained_cfg={**config["pretrained_cfg"], **values})
