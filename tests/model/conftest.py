"""Networks that several tests share; nobody changes them."""

import pytest

from birdembed.weights.projection import Projection
from tests.support import seeded
from tests.support.model_folders import big_folder  # noqa: F401
from tests.support.models import CLASSES, SIZE, make_model


@pytest.fixture(scope="session")
def resnet50():
    return make_model("resnet50")


@pytest.fixture(scope="session")
def resnet50d():
    return make_model("resnet50d")


@pytest.fixture(scope="session")
def resnet18():
    return make_model("resnet18")


@pytest.fixture(scope="session")
def resnet34d():
    return make_model("resnet34d")


@pytest.fixture(scope="session")
def small():
    """resnet50 on pictures of 64 px, with class names."""
    return make_model(size=SIZE, class_names=[f"species {i}" for i in range(CLASSES)])


@pytest.fixture(scope="session")
def tiny(small):
    """The same on 32 px, the least that the network takes: for what needs many images."""
    model = make_model(size=32)
    assert model.fingerprint != small.fingerprint
    return model


@pytest.fixture(scope="session")
def projecting():
    """resnet50d on 32 px that projects GeM features to 16 numbers by default."""
    projection = Projection(
        "gem", seeded.uniform([5], (2048,)), seeded.uniform([6], (2048, 16), -1, 1)
    )
    return make_model("resnet50d", 0, size=32, projection=projection, project_by_default=True)


@pytest.fixture(scope="session")
def pictures():
    return seeded.pictures(33)
