"""Folders, indexes and models that the tests of the commands share."""

import types

import pytest

import birdembed as be
from tests.support.species import folder, model, others, photos, write_folder  # noqa: F401 (fixtures)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """Two species with three pictures each, a note, and one file that is no picture."""
    root = tmp_path_factory.mktemp("damaged")
    write_folder(root, range(3), ["ROBIN", "WREN"])
    (root / "WREN" / "bad.jpg").write_bytes(b"no picture at all")
    (root / "notes.txt").write_text("not an image")
    return root


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Return a saved model without a gallery, of as many numbers as the network has."""
    path = tmp_path_factory.mktemp("bare") / "random"
    be.Model("resnet18", num_classes=0, seed=0).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def index(folder, photos, tmp_path_factory):  # noqa: F811 (they are the fixtures above)
    """Return the file of an index of `photos`."""
    path = tmp_path_factory.mktemp("index") / "photos.index"
    be.Index.build(be.load_model(folder), photos.root).save(path)
    return str(path)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Keep vectors in ``tmp_path / "cache"``."""
    monkeypatch.setenv("BIRDEMBED_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def training(monkeypatch):
    """Record what `fine_tune` is called with; the model keeps its weights."""
    calls = []

    def fine_tune(model, train, valid=None, epochs=8, *, resume=False, **config):  # noqa: F811
        calls.append(types.SimpleNamespace(**locals()))
        epochs_done = [{"epoch": i, "train_loss": 1 / i} for i in range(1, epochs + 1)]
        return types.SimpleNamespace(epochs=epochs_done, best=epochs_done[-1])

    monkeypatch.setattr(be, "fine_tune", fine_tune, raising=False)
    return calls
