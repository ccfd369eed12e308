"""Made-up data of two sizes, and the small stand-in of the core for those who ask for it."""

import pytest

from birdembed import Trainer
from tests.support import fake_core_trainer as fake
from tests.support.small_training import EASY, new_model
from tests.support.train_data import make_folder


@pytest.fixture
def small_core(monkeypatch):
    fake.install(monkeypatch)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("train")
    return make_folder(root / "train"), make_folder(root / "valid", per_class=5, seed=1)


@pytest.fixture
def train(folder):
    return folder[0]


@pytest.fixture
def valid(folder):
    return folder[1]


@pytest.fixture(scope="session")
def uneven(tmp_path_factory):
    """A folder of data whose last batches are smaller than the others."""
    root = tmp_path_factory.mktemp("uneven")
    make_folder(root / "train", per_class=11)
    make_folder(root / "valid", per_class=3, seed=1)
    return root


@pytest.fixture
def saved(train, tmp_path):
    """A folder with a checkpoint from before the first step."""
    Trainer(new_model(), train, epochs=1, ema=None, **EASY).save_checkpoint(tmp_path)
    return tmp_path
