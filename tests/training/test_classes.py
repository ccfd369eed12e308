"""Checks of the classes of the training data."""

import numpy as np
import pytest

import birdembed as be
from birdembed.training.classes import check_train, class_weights
from birdembed.training.config import TrainConfig

Image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")


def test_species_of_these_names_are_species(tmp_path):
    for name in ("train", "valid"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 40)).save(tmp_path / name / "a.png")
    assert check_train(be.ImageFolder(tmp_path)).class_names == ["train", "valid"]


def test_two_spellings_of_a_class_have_one_weight():
    one, two = "Caf\u00e9", "Cafe\u0301"
    data = be.ImageFolder.from_lists(["a", "b"], [two, "Owl"])
    for name in (one, two):
        config = TrainConfig(class_weights={"Owl": 2, name: 3})
        assert class_weights(config, data).tolist() == [0.75, 0.5]
    assert TrainConfig(class_weights={one: 3, two: 3}).class_weights == {one: 3}
    with pytest.raises(ValueError, match="class_weights has two weights for class 'Café'"):
        TrainConfig(class_weights={one: 3, two: 4})


@pytest.mark.filterwarnings("error")
def test_only_the_ratios_of_weights_count():
    data = be.ImageFolder.from_lists(["a", "b"], ["Jay", "Owl"])
    plain = class_weights(TrainConfig(class_weights=[3, 2]), data)
    for factor in (2.0**-1070, 2.0**-130, 2.0, 2.0**126, 2.0**1000):
        scaled = class_weights(TrainConfig(class_weights=[3 * factor, 2 * factor]), data)
        assert np.array_equal(scaled, plain)
    tiny = class_weights(TrainConfig(class_weights=[0, 2.0**-200]), data)
    assert tiny.tolist() == [0, 0.5]


def test_weights_without_a_ratio_are_refused():
    data = be.ImageFolder.from_lists(["a", "b"], ["Jay", "Owl"])
    with pytest.raises(ValueError, match="class_weights must not be all 0"):
        class_weights(TrainConfig(class_weights=[0, 0]), data)
    with pytest.raises(ValueError, match=r"class_weights: 1 is too small beside 1e\+60"):
        class_weights(TrainConfig(class_weights={"Jay": 1, "Owl": 1e60}), data)
