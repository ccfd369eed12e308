"""Every public seed is checked."""

import numpy as np
import pytest

import birdembed as be
from tests.docs.public import parameters, public_names

PATHS = [f"{name}{i}.jpg" for name in ("wren", "robin") for i in range(4)]
DATA = be.ImageFolder.from_lists(PATHS, ["wren"] * 4 + ["robin"] * 4)  # never read


@pytest.fixture(scope="module")
def model():
    return be.Model("resnet18", preprocess=be.Preprocess(size=96))


def calls(model):
    """Return a call of each public function that has a seed, without the seed."""
    return {
        "birdembed.ImageFolder.select": DATA.select,
        "birdembed.ImageFolder.split": DATA.split,
        "birdembed.Model": be.Model,
        "birdembed.Model.reset_classifier": lambda **given: model.reset_classifier(2, **given),
        "birdembed.TrainConfig": be.TrainConfig,
        "birdembed.recalibrate_batch_norm": lambda **given: be.recalibrate_batch_norm(
            model, DATA, **given
        ),
        "birdembed.sample_data": lambda **given: be.sample_data("nowhere", **given),
    }


SEEDED = [
    name
    for name, value in public_names()
    if "seed" in {option.name for option in parameters(value)}
]


@pytest.mark.parametrize("name", SEEDED)
def test_seeds(model, name):
    call = calls(model).get(name)
    assert call is not None, f"add a call of {name} to this test"
    for wrong in (None, "2", 1.5, True, np.True_):
        with pytest.raises(TypeError, match=r"^seed must be an int, got "):
            call(seed=wrong)
    for wrong in (-1, 1 << 62):
        with pytest.raises(ValueError, match=r"^seed must be .*, got "):
            call(seed=wrong)


def test_seeds_of_numpy_are_the_same_seeds():
    assert DATA.split(seed=np.uint8(3))[1].paths == DATA.split(seed=3)[1].paths
