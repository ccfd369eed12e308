"""Images to try training with: from a folder, in numbers that are there."""

import numpy as np
import pytest

import birdembed as be
from birdembed.downloads import sample_data as module
from birdembed.downloads.sample_species import SPECIES, species_of
from tests.support.species import write_folder

Image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")
NAMES = ["AUK", "BEE-EATER", "COOT", "DUNLIN", "EMU", "FINCH"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six species with five photos each."""
    root = tmp_path_factory.mktemp("species")
    write_folder(root, range(5), NAMES, size=16)
    return root


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The same in train and valid; valid lacks a species."""
    root = tmp_path_factory.mktemp("parts")
    write_folder(root / "train", range(4), NAMES, size=16)
    write_folder(root / "valid", range(4, 6), NAMES[:-1], size=16)
    return root


def test_a_folder_is_split(folder):
    data = be.sample_data(folder, classes=3, unseen=2, train=3, valid=9)
    assert len(data.train.class_names) == 3
    assert np.bincount(data.train.labels).tolist() == [3, 3, 3]
    assert np.bincount(data.valid.labels).tolist() == [1, 1, 1]  # a fifth
    assert len(data.unseen) == 10
    assert not set(data.train.paths) & set(data.valid.paths)
    assert not set(data.train.class_names) & set(data.unseen.class_names)
    assert data.source == (
        "9 photos of 3 species to train with, 3 of the same species that are not in the training "
        "and 10 of 2 other species, from your folder"
    )


def test_parts_are_taken_as_they_are(parts):
    data = be.sample_data(parts, classes=6, unseen=0, train=9, valid=9)
    assert all("train" in path for path in data.train.paths)
    assert all("valid" in path for path in data.valid.paths)
    assert (len(data.train), len(data.valid), len(data.unseen)) == (24, 10, 0)
    assert "other species" not in data.source
    # Of a species that is kept out, all photos may be taken.
    assert len(be.sample_data(parts, classes=4, unseen=2, valid=6).unseen) >= 10


def test_numbers_are_clamped(folder):
    data = be.sample_data(folder, classes=50, unseen=20)
    assert (len(data.train.class_names), len(data.unseen.class_names)) == (4, 2)
    found, source = be.sample_photographs(folder, classes=50, per_class=3)
    assert (len(found), source) == (18, "18 photos of 6 species from your folder")


def test_a_folder_that_cannot_be_trained_with(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        be.sample_data(tmp_path / "nowhere")
    write_folder(tmp_path / "one", range(2), ["AUK"], size=16)
    with pytest.raises(ValueError, match="at least two"):
        be.sample_data(tmp_path / "one")
    write_folder(tmp_path / "single", range(1), ["AUK", "COOT"], size=16)
    with pytest.raises(ValueError, match="single: no species has a second photo"):
        be.sample_data(tmp_path / "single")


@pytest.mark.parametrize(
    ("option", "least"), [("classes", 1), ("unseen", 0), ("train", 1), ("valid", 1), ("size", 1)]
)
def test_numbers_are_checked_before_the_folder(option, least):
    with pytest.raises(ValueError, match=f"^{option} must be at least {least}, got {least - 1}"):
        be.sample_data("nowhere", **{option: least - 1})
    with pytest.raises(TypeError, match=f"^{option} must be an int, got '2'"):
        be.sample_data("nowhere", **{option: "2"})


@pytest.mark.parametrize("option", ["classes", "per_class"])
def test_numbers_of_photographs_are_checked(option):
    with pytest.raises(ValueError, match=f"^{option} must be at least 1, got 0"):
        be.sample_photographs("nowhere", **{option: 0})


@pytest.fixture
def samples(tmp_path, monkeypatch):
    """Stand-ins for the sample photos."""
    monkeypatch.setenv("BIRDEMBED_CACHE", str(tmp_path / "cache"))
    pixels = np.zeros((40, 30, 4), np.uint8)
    pixels[10:30, 5:25] = (200, 90, 30, 255)
    (tmp_path / "samples").mkdir()
    for name in ("crow", "drake", "duck", "owl"):
        Image.fromarray(pixels).save(tmp_path / "samples" / f"{name}.png")
    monkeypatch.setattr(module, "fetch", lambda name: str(tmp_path / "samples"))


def test_sample_photos_have_the_names_of_species(samples):
    photos, source = be.sample_photographs()
    assert photos.names == ["Crow", "Mallard", "Mallard", "Snowy Owl"]
    assert source == "4 sample photos of 3 species"
    data = be.sample_data(classes=2, unseen=1, train=2, valid=1, size=32)
    assert sorted(data.train.class_names + data.unseen.class_names) == sorted(set(photos.names))
    assert "views" in data.source
    assert "sample photos" in data.source


def test_names_of_species():
    assert species_of("drake") == species_of("duck") == ("Mallard", "Anas platyrhynchos")
    assert species_of("new-bird") == ("New bird", "")
    of_common: dict[str, str] = {}
    for common, scientific in SPECIES.values():
        assert of_common.setdefault(common, scientific) == scientific
