"""`birdembed demo`: what it says is computed, and marked right or wrong."""

import os
import re

import numpy as np
import pytest

import birdembed as be
from birdembed.cli import demo, main
from birdembed.downloads import demo_pictures
from birdembed.downloads.demo_pictures import DemoPictures
from tests.support.species import picture, write_folder

Image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")
pytest.importorskip("matplotlib", reason="needs matplotlib to draw the plot")

SIZE = 64


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("BIRDEMBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A model without a gallery."""
    path = tmp_path_factory.mktemp("bare") / "random"
    preprocess = be.Preprocess(size=SIZE)
    be.Model("resnet18", num_classes=0, seed=0, preprocess=preprocess).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three species with three photos each, one bad file among them."""
    root = tmp_path_factory.mktemp("photos")
    write_folder(root, range(3), ["ROBIN", "TUI", "WREN"])
    (root / "WREN" / "bad.jpg").write_bytes(b"no picture at all")
    return root


@pytest.fixture(scope="module")
def knowing(bare, photos, tmp_path_factory):
    """A model that knows two of the species, one by another label."""
    model = be.load_model(bare)
    train = be.ImageFolder(photos, classes=["ROBIN", "WREN"])
    readable = [path for path in train.paths if "bad" not in path]
    names = ["RBN" if "ROBIN" in path else "WREN" for path in readable]
    model.fit_gallery(model.encode(readable), labels=names)
    model.species_names = {"RBN": ("Robin", "Erithacus rubecula")}
    path = tmp_path_factory.mktemp("knowing") / "two-birds"
    model.save_pretrained(path)
    return str(path)


def test_folder_of_species(photos, knowing, tmp_path, capsys):
    assert main(["demo", "--images", str(photos), "--model", knowing]) == 0
    said = capsys.readouterr()
    assert "bad.jpg" in said.err
    assert "9 photos of 3 species" in said.out
    for words in ("same species", "different species", "nearest picture is right", "0.9 to 1.0"):
        assert words in said.out
    known, unseen = said.out.split("unseen species\n", 1)
    assert "  right   ROBIN                     Robin (Erithacus rubecula) (" in known
    assert "TUI" in unseen
    assert re.search(r"6 pictures of species it was trained on: \d named right, \d not rec", unseen)
    name = next(line.split()[-1] for line in said.out.splitlines() if line.endswith(".png"))
    assert Image.open(tmp_path / name).size > (100, 100)


def test_folder_of_photos(bare, tmp_path, capsys):
    images = tmp_path / "images"
    images.mkdir()
    for seed in range(3):
        picture(seed, 0, 96).save(images / f"{seed}.png")
    (tmp_path / "link").symlink_to(images)  # a path as a user may write it
    given = os.path.relpath(tmp_path / "link")
    assert main(["demo", "--images", given, "--model", bare, "-o", "x.png"]) == 0
    out = capsys.readouterr().out
    assert "3 changed copies of each" in out
    assert "same photo" in out
    assert "Which species" not in out
    assert (tmp_path / "x.png").is_file()


def test_before_and_after(photos, knowing, bare, capsys, monkeypatch):
    """The pre-trained network comes first, if it was fetched."""
    load = be.load_model
    monkeypatch.setattr(
        be,
        "load_model",
        lambda name=None, precision=None: load(bare if name == "sscd" else knowing),
    )
    monkeypatch.setattr(be, "list_models", lambda: ["sscd"])
    assert main(["demo", "--images", str(photos)]) == 0
    out = capsys.readouterr().out
    assert out.index("before: ") < out.index("after:  ") < out.index("trained to know 2 species")


def test_sample_photos_in_scenes(tmp_path, monkeypatch):
    samples, work = tmp_path / "samples", tmp_path / "work"
    samples.mkdir()
    work.mkdir()
    pixels = np.zeros((90, 60, 4), np.uint8)
    pixels[20:70, 10:50] = (200, 90, 30, 255)
    for name in ("owl", "turkey", "heron_greatblue", "heron_greatblue_flying", "ostrich"):
        Image.fromarray(pixels).save(samples / f"{name}.png")
    monkeypatch.setattr(demo_pictures, "fetch", lambda name: str(samples))
    found = demo_pictures.demo_pictures(None, 60, work)
    # The bird on ostrich.png is a white rhea.
    assert found.data.class_names == ["Great Blue Heron", "Snowy Owl", "Wild Turkey"]
    assert len(found.data) == 12
    assert found.species["Snowy Owl"] == ("Snowy Owl", "Bubo scandiacus")
    assert {Image.open(path).size for path in found.data} == {(224, 224)}


def test_species_are_matched_by_any_of_their_names(knowing):
    model = be.load_model(knowing)
    names = ["Robin", "redbreast", "Kea"]
    species = {"redbreast": ("redbreast", "Erithacus rubecula")}
    data = be.ImageFolder.from_lists(["a.jpg"] * 3, names)
    pictures = DemoPictures(data, species, True, "", [])
    assert demo.labels_known(model, pictures) == {"Robin": "RBN", "redbreast": "RBN"}


def test_one_photo_is_too_few(bare, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    picture(0, 0, 96).save(tmp_path / "images" / "0.png")
    assert main(["demo", "--images", "images", "--model", bare]) == 1
    assert "at least two photos" in capsys.readouterr().err
