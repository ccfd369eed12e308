"""A model that comes with the package: found by name, identifying with no download."""

import csv
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import birdembed as be
from birdembed.cli import main
from birdembed.model.shared import shared_model
from birdembed.pretrained import registry
from tests.support import tolerances
from tests.support.networks import embed, vision

PACKAGE = Path(be.__file__).resolve().parent


def pictures(n):
    return list(np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A folder of bundled models with one in it, as `finetune --dtype float16` writes it."""
    root = tmp_path_factory.mktemp("models")
    model = be.Model("resnet50", num_classes=2, seed=1, preprocess=be.Preprocess(size=64))
    from birdembed.weights.storing import as_stored

    model.load_state_dict(as_stored(model.state_dict(), "float16"))
    model.fit_gallery(model.encode(pictures(4)), labels=["kea", "kea", "tui", "tui"])
    model.save_pretrained(root / "birds477", dtype="float16")
    yield root
    shutil.rmtree(root)


def test_found_by_name(shipped, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_BUNDLED", shipped)
    assert "birds477" in be.list_models()
    model = be.load_model("birds477")
    assert repr(model).endswith("birds477)")
    assert model.identify(pictures(1)[0]).species == "kea"
    assert main(["info", "--check", "birds477"]) == 0
    assert model.fingerprint in capsys.readouterr().out
    twin = pickle.loads(pickle.dumps(model))
    assert twin.fingerprint == model.fingerprint
    assert twin.identify(pictures(4)) == model.identify(pictures(4))


def test_folder_named_like_the_bundled_model(shipped, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_BUNDLED", shipped)
    (tmp_path / "birds477").mkdir()
    assert be.load_model().preprocess.size == 64
    own = Path("birds477")
    be.Model("resnet18", preprocess=be.Preprocess(size=96)).save_pretrained(own)
    with pytest.warns(UserWarning, match=r"use \./birds477"):
        assert be.load_model().preprocess.size == 64
    assert be.load_model(own).preprocess.size == 96
    assert be.load_model("./birds477").preprocess.size == 96
    assert shared_model(own).preprocess.size == 96


def test_default_model_of_a_package_that_has_it(shipped, tmp_path):
    """In a process of its own, with a copy of the package: what is the default is told once."""
    copy = tmp_path / "site" / "birdembed"
    shutil.copytree(PACKAGE, copy, symlinks=True, ignore=shutil.ignore_patterns("bundled"))
    shutil.copytree(shipped, copy / "pretrained" / "bundled")
    image = tmp_path / "kea.npy"
    np.save(image, pictures(1)[0])
    code = (
        "import numpy as np, birdembed as be; model = be.load_model();"
        f"print(model, model.identify(np.load({str(image)!r})).species, be.Model.from_pretrained())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(copy.parent), "HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    shutil.rmtree(copy)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("birds477)") == 2
    assert ") kea Model(" in done.stdout


# The model itself

BIRDS477 = PACKAGE / "pretrained" / "bundled" / "birds477"


@pytest.fixture(scope="module")
def birds477():
    return be.load_model("birds477")


def test_what_comes_with_birds477(birds477):
    """Its licences, its record and its card lie beside it; it is small, and names no paths."""
    files = {path.name: path for path in BIRDS477.iterdir()}
    assert set(files) == {
        "README.md",
        "LICENSE.sscd",
        "config.json",
        "model.safetensors",
        "gallery.safetensors",
        "training.json",
    }
    assert files["model.safetensors"].stat().st_size < 50e6
    for name in ("README.md", "config.json", "training.json"):
        assert not re.search(r"/(home|root|work|tmp|shared)\b", files[name].read_text("utf-8"))
    record = json.loads(files["training.json"].read_text())
    assert record["command"] in files["README.md"].read_text("utf-8")
    config = json.loads(files["config.json"].read_text("utf-8"))
    assert config["birdembed"]["calibration"]
    assert birds477.num_classes == len(birds477.class_names) == 476
    assert birds477.preprocess.size == 192
    listed = listed_names()
    assert birds477.species_names == {label: listed[label] for label in birds477.class_names}


@pytest.mark.parametrize(
    ("row", "part", "key"),
    [
        ("accuracy of the classifier", "valid", "accuracy"),
        ("precision@1", "valid", "precision_at_1"),
        ("MAP@R", "valid", "map_at_r"),
        ("mean cosine, same species", "valid", "same_similarity"),
        ("mean cosine, other species", "valid", "different_similarity"),
        ("precision@1, flipped", "valid", "robustness.flip.precision_at_1"),
        ("precision@1, rotated by 90 degrees", "valid", "robustness.rotate90.precision_at_1"),
        ("precision@1, brightness x 0.6", "valid", "robustness.brightness_0.6.precision_at_1"),
        ("precision@1, brightness x 1.4", "valid", "robustness.brightness_1.4.precision_at_1"),
        ("the fifth photo, precision@1", "fifth", "precision_at_1"),
    ],
)
def test_the_cards_figures_are_the_records(row, part, key):
    record = json.loads((BIRDS477 / "training.json").read_text())
    card = (BIRDS477 / "README.md").read_text("utf-8")
    cells = next(line for line in card.splitlines() if line.startswith(f"| {row} |")).split("|")
    assert cells[-2].strip() == f"{record[part][key]:.3f}"


def listed_names():
    table = Path(__file__).parents[2] / "tools" / "species_names.csv"
    rows = csv.DictReader(table.read_text("utf-8").splitlines())
    return {row["folder"]: (row["common_name"], row["scientific_name"]) for row in rows}


def test_names_of_the_collection():
    """A species, two or three that its photographs mix, a genus, a family; one holds no birds."""
    listed = listed_names()
    assert len(listed) == 477
    assert listed.pop("LOONEY BIRDS") == ("", "")
    for folder, (common, scientific) in listed.items():
        assert re.fullmatch(r"[A-Z][A-Za-z'/-]+( [A-Za-z][A-Za-z'/-]+)*", common), folder
        assert re.fullmatch(
            r"[A-Z][a-z]+(( [a-z]+){1,2}| [a-z]+/[a-z]+| sp\.)|Diomedeidae", scientific
        ), folder
    assert len({common for common, _ in listed.values()}) == len(listed)


def test_birds477_is_what_timm_makes_of_it(birds477):
    _, _, timm, _ = vision()
    twin = timm.create_model(f"local-dir:{BIRDS477}", pretrained=True).eval()
    x = np.random.default_rng(0).standard_normal((2, 3, 192, 192), dtype=np.float32)
    found = birds477.forward_tensor(x)
    expected = embed(twin, x)
    assert np.linalg.norm(found - expected) <= tolerances.NETWORK_REL_L2 * np.linalg.norm(expected)


def test_birds477_knows_birds_it_never_saw(birds477):
    """Photographs of its species that were not trained on; the figures are training.json's."""
    folder = os.environ.get("BIRDEMBED_DATA")
    if not folder or not (Path(folder) / "valid").is_dir():
        pytest.skip("needs BIRDEMBED_DATA, a folder with valid/")
    valid = be.ImageFolder(Path(folder) / "valid")
    if not set(valid.class_names) <= set(birds477.class_names):
        pytest.skip("birds477 does not know the species of BIRDEMBED_DATA")
    records = json.loads((BIRDS477 / "training.json").read_text())
    found = be.evaluate(birds477, valid)
    assert found.accuracy == pytest.approx(records["valid"]["accuracy"], abs=0.005)
    answers = birds477.identify(valid.paths)
    right = np.array([a.species == name for a, name in zip(answers, valid.names, strict=True)])
    known = np.array([a.known for a in answers])
    assert right.mean() >= 0.92
    assert known.mean() == pytest.approx(records["threshold"]["valid_accepted"], abs=0.005)
    assert right[known].mean() >= 0.98
