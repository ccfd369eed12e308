"""Model cards: numbers of config.json, a form that the hub reads, and cards of others."""

import json
from pathlib import Path

import pytest

import birdembed as be
from birdembed.pretrained.card import MARK, model_card
from birdembed.pretrained.registry import DEFAULT_MODEL, read_model
from tests.support.models import make_model

LOSS = ["Distill(<70 x 1280, sha256 d8ba01>, weight=6.0)", "SupCon(0.1)"]
TRAINING = {
    "started_from": "timm/resnet50.tv_in1k@0123456789ab",
    "config": {"epochs": 8, "batch_size": 32, "lr": 0.001, "loss": LOSS},
    "data": {"classes": 2, "train_images": 70, "valid_images": 30},
    "best": {"epoch": 5, "valid_accuracy": 0.98765, "map_at_r": None},
    "gallery": {"accuracy": 0.875, "known_accepted": 0.95, "unknown_accepted": 0.0625},
}


@pytest.fixture
def model():
    return make_model(
        num_classes=2, size=64, class_names=["BARN OWL", "a|b"], training=TRAINING, threshold=0.5
    )


def front_matter(card):
    yaml = pytest.importorskip("yaml")
    _, head, _ = card.split("---\n", 2)
    return yaml.safe_load(head)


def test_card(model, tmp_path):
    model.species_names = {"BARN OWL": ("Barn Owl", "Tyto alba")}
    model.save_pretrained(tmp_path / "my-birds")
    card = (tmp_path / "my-birds" / "README.md").read_text(encoding="utf-8")
    head = front_matter(card)
    assert head["library_name"] == "birdembed"
    assert head["base_model"] == "timm/resnet50.tv_in1k"
    assert {"timm", "resnet50", "image-classification"} <= set(head["tags"])
    for text in (
        "# my-birds",
        "2 classes",
        "64 x 64 pixels",
        model.fingerprint,
        "| threshold of a known species | 0.500 |",
        "| data | 70 images of 2 classes |",
        "Best epoch (5), on 30 other images",
        "| 0.9877 |",
        "| loss | Distill(array, weight=6.0); SupCon(0.1) |",
        "| images of species outside the gallery that are accepted | 0.062 |",
        "Barn Owl (Tyto alba)",
        'be.load_model("my-birds")',
    ):
        assert text in card, text
    assert "MAP@R" not in card
    for line in card.splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") == 3, line
    be.load_model(tmp_path / "my-birds")


def test_a_bare_model_has_a_card_too(tmp_path):
    make_model(num_classes=0, size=64).save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "base_model" not in front_matter(card)
    assert "Training" not in card
    assert "Classes" not in card


def test_cards_of_people_stay(model, tmp_path):
    card = tmp_path / "README.md"
    model.save_pretrained(tmp_path)
    first = card.read_text(encoding="utf-8")
    card.write_text(first.replace("2 classes", "two owls"), encoding="utf-8")
    model.save_pretrained(tmp_path)
    assert card.read_text(encoding="utf-8") == first
    card.write_text(first.replace(MARK, "Mine."), encoding="utf-8")
    model.save_pretrained(tmp_path)
    assert "Mine." in card.read_text(encoding="utf-8")


def test_the_bundled_model_has_numbers_for_one():
    given = read_model(DEFAULT_MODEL)
    folder = Path(given.gallery_file.path).parent
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    card = model_card(config, DEFAULT_MODEL)
    assert f"{config['num_classes']} classes" in card
    assert "Bald Eagle (Haliaeetus leucocephalus)" in card


def test_records_of_other_programs_have_a_card_too(model, tmp_path):
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    values = [[1], "text", 5, 10**400, float("nan"), True, None, {"epoch": {}}]
    for part in ("config", "data", "best", "gallery", "started_from", "before"):
        for value in values:
            config["birdembed"]["training"] = {**TRAINING, part: value}
            assert "# name" in model_card(config, "name")
    best = {"epoch": 5, "valid_accuracy": 0.98765, "valid_loss": 10**400, "map_at_r": float("nan")}
    config["birdembed"]["training"] = {**TRAINING, "best": best}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    be.load_model(tmp_path).save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "0.9877" in card
    assert "| loss | 1" not in card
    assert "MAP@R" not in card


@pytest.mark.parametrize(
    ("starts", "notice"),
    [
        (["birds477"], "LICENSE.sscd"),
        (["my-birds", "birds477", "sscd"], "LICENSE.sscd"),
        (["my-birds", "sscd"], "fetch sscd"),
        (["timm/resnet50.tv_in1k"], None),
    ],
)
def test_licences_of_the_weights_it_started_from(starts, notice, tmp_path):
    training = {}
    for start in reversed(starts):
        training = {"started_from": start, "before": training}
    make_model(num_classes=0, size=64, training=training).save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert ("## Licences" in card) == (notice is not None)
    assert notice is None or notice in card
