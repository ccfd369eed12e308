"""The example scripts on species of a few made-up pictures, with random weights."""

import json
import shutil
import sys

import numpy as np
import pytest

import birdembed as be
from tests.support import ROOT
from tests.support.species import write_folder

EXAMPLES = ROOT / "examples"
SPECIES = ["DUNNOCK", "FIRECREST", "JAY", "REDWING", "ROBIN", "WREN"]
Image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    root = tmp_path_factory.mktemp("birds")
    write_folder(root / "train", range(4), SPECIES, 96)
    write_folder(root / "valid", range(4, 6), SPECIES, 96)
    be.Model("resnet50", seed=0, preprocess=be.Preprocess(size=64)).save_pretrained(root / "start")
    yield root
    shutil.rmtree(root)


@pytest.fixture
def words(birds, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delenv("BIRDEMBED_DATA", raising=False)
    for name in ("common", "no_birds", "ten_species", "unseen_species"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield [
        *("--train", str(birds / "train"), "--valid", str(birds / "valid")),
        *("--start", str(birds / "start"), "--output", str(tmp_path / "out")),
    ]
    shutil.rmtree(tmp_path / "out", ignore_errors=True)


def value_of(words, option):
    return words[words.index(option) + 1]


def test_ten_species(words, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    import ten_species

    options = "--species 3 --epochs 1 --size 96 --eval-size 96 --batch-size 8 --gallery 3".split()
    report = ten_species.main([*words, *options])
    assert report["species"] == SPECIES[:3]
    assert len(report["history"]) == 1
    for row in report["before"], report["after"]:
        assert -1 <= row["other species, all pairs"] <= row["same species, all pairs"] <= 1
        assert 0 <= row["nearest is right, 3 unseen species"] <= 1
    assert report["before"]["accuracy, unknown birds"] is None
    assert 0 <= report["after"]["accuracy, unknown birds"] <= 1
    out = tmp_path / "out"
    assert json.loads((out / "report.json").read_text()) == report
    for name in ("before.png", "after.png"):
        assert Image.open(out / name).size[0] > 400
    assert "just under 100" in capsys.readouterr().out
    saved = be.load_model(out / "model")
    assert saved.class_names == SPECIES[:3]
    # The figures are those of the public functions.
    valid = be.ImageFolder(value_of(words, "--valid"), SPECIES[:3])
    assert report["after"]["same species, all pairs"] == pytest.approx(
        be.evaluate(saved, valid).same_similarity
    )
    again = ten_species.main([*words, *options, "--trained", str(out / "model")])
    same = {k: v for k, v in report["after"].items() if k != "file, MB"}
    assert again["after"] == same
    assert again["history"] == []


def test_unseen_species(words, birds, tmp_path, capsys):
    import unseen_species

    options = "--every 3 --gallery 3 --fit 4 --sizes 64,96 --start-sizes 64".split()
    model = be.load_model(birds / "start")
    model.reset_classifier(4, class_names=[SPECIES[i] for i in (1, 2, 4, 5)])
    model.save_pretrained(tmp_path / "out" / "model")
    report = unseen_species.main([*words, *options, "--model", str(tmp_path / "out" / "model")])
    assert report["unseen"] == ["DUNNOCK", "REDWING"]
    rows = report["rows"]
    assert list(rows) == [
        *("pre-trained @ 64", "pre-trained, mirror @ 64"),
        *("projection @ 64", "projection, mirror @ 64"),
        *("fine-tuned @ 64", "fine-tuned, mirror @ 64"),
        *("fine-tuned @ 96", "fine-tuned, mirror @ 96"),
    ]
    assert len(report["no_birds"]) == 20
    # The same weights at the same size: the same figures, and those of the public functions.
    assert rows["fine-tuned @ 64"] == rows["pre-trained @ 64"]
    train = be.ImageFolder(birds / "train").select(per_class=3)
    vectors = be.load_model(birds / "start").encode(train)
    found = be.retrieval_metrics(vectors, train.names).per_class
    expected = np.mean([found[name]["map_at_r"] for name in report["unseen"]])
    assert rows["pre-trained @ 64"]["unseen_map_at_r"] == pytest.approx(expected)
    assert rows["pre-trained, mirror @ 64"] != rows["pre-trained @ 64"]
    assert all(row["known_accepted"] >= 0.95 for row in rows.values())
    assert all(set(row["no_birds_accepted"]) <= set(report["no_birds"]) for row in rows.values())
    # The classifier's own way to refuse.
    assert list(report["classifier"]) == ["its classifier @ 64", "its classifier @ 96"]
    valid = be.ImageFolder(birds / "valid")
    known = model.logits(valid.select([SPECIES[i] for i in (1, 2, 4, 5)]).paths)
    strange = model.logits(train.select(report["unseen"]).paths)
    stand_out = [(x.max(1) - x.mean(1)) / x.std(1) for x in (known, strange)]
    row = report["classifier"]["its classifier @ 64"]
    assert row["auroc"] == pytest.approx(be.open_set_auroc(*stand_out))
    assert row["known_accepted"] >= 0.95
    assert row["unseen_accepted"] == np.mean(stand_out[1] >= row["threshold"])
    assert "fine-tuned, mirror @ 96" in capsys.readouterr().out
    # A model that was trained on them is refused.
    model.reset_classifier(1, class_names=["REDWING"])
    model.save_pretrained(tmp_path / "out" / "model")
    with pytest.raises(SystemExit, match=r"trained on 1 of the 2 species .*REDWING"):
        unseen_species.main([*words, *options, "--model", str(tmp_path / "out" / "model")])


def test_unseen_species_trains_its_own(words, tmp_path):
    import unseen_species

    options = "--every 3 --gallery 2 --fit 3 --sizes 96 --start-sizes 64".split()
    training = "--epochs 1 --batch-size 8 --image-size 96".split()
    report = unseen_species.main([*words, *options, *training, "--no-mirror"])
    assert list(report["rows"]) == ["pre-trained @ 64", "projection @ 64", "fine-tuned @ 96"]
    saved = be.load_model(tmp_path / "out" / "model")
    assert not set(saved.class_names) & set(report["unseen"])


def test_the_mean_with_the_mirror_image_is_that_of_the_model(words, birds):
    """Bit for bit the mirror images are the model's own; their mean is rounded once."""
    import dataclasses

    import unseen_species

    model = be.load_model(birds / "start")
    paths = be.ImageFolder(birds / "train").paths[:3]
    both = (model.encode(paths) + model.encode(unseen_species.mirrored(paths))) / 2
    model.preprocess = dataclasses.replace(model.preprocess, mirror=True)
    np.testing.assert_allclose(both, model.encode(paths), rtol=1e-6)


def test_no_birds_need_no_package(words, monkeypatch, tmp_path):
    import no_birds

    monkeypatch.setattr(no_birds, "PACKAGED", {("no_such_package", "x"): ["y.png"]})
    found = no_birds.no_birds()
    assert len(found) == 20
    assert all(p.dtype == np.uint8 and p.shape == (256, 256, 3) for p in found.values())
    assert all(p.std() > 10 for p in found.values())
    again = no_birds.no_birds()
    assert all(np.array_equal(found[name], again[name]) for name in found)
    Image.fromarray(found["drawn: hills 1"]).save(tmp_path / "hills.png")
    assert list(no_birds.no_birds(tmp_path)) == ["hills.png"]


def test_packaged_no_birds(words):
    pytest.importorskip("sklearn")
    import no_birds

    found = no_birds.no_birds()
    assert len(found) == 20
    assert "sklearn: china.jpg" in found


def test_without_a_folder(words, monkeypatch, tmp_path):
    import ten_species

    with pytest.raises(SystemExit, match="set BIRDEMBED_DATA"):
        ten_species.main([])
    write_folder(tmp_path, [1], SPECIES, 96)
    shutil.rmtree(tmp_path / "WREN")
    with pytest.raises(SystemExit, match=r"has the species .WREN., which .* lacks"):
        ten_species.main(["--train", str(tmp_path), "--valid", value_of(words, "--valid")])
