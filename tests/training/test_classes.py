"""Checks of the classes of the training data."""

import pytest

import birdembed as be
from birdembed.training.classes import check_train

Image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")


def test_species_of_these_names_are_species(tmp_path):
    for name in ("train", "valid"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 40)).save(tmp_path / name / "a.png")
    assert check_train(be.ImageFolder(tmp_path)).class_names == ["train", "valid"]
