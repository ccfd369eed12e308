"""The pictures of README.md and the guide are made with the model that is the default."""

import json
import re

import birdembed as be
from tests.support import ROOT

FOLDER = ROOT / "docs" / "images"
AGAIN = (
    "the default model is another one by now: `make pictures` draws them again; then correct "
    "the scores in README.md, which tests/docs/test_pages.py compares (a slow test)"
)


def test_each_picture_was_made_with_the_default_model():
    made = json.loads((FOLDER / "made_with.json").read_text(encoding="utf-8"))
    assert {path.name for path in FOLDER.glob("*.png")} == set(made)
    for name, fingerprint in made.items():
        assert fingerprint == be.load_model().fingerprint, f"{name}: {AGAIN}"


def test_each_picture_is_shown():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    shown = {name.rsplit("/", 1)[-1] for name in re.findall(r"!\[[^\]]*\]\(([^)\s]+)", text)}
    assert {path.name for path in FOLDER.glob("*.png")} <= shown
