"""Nothing is left of what does not fit on the disk: no file, and no empty folder."""

import contextlib
import errno
import os

import pytest

import birdembed as be
from birdembed.base.files import made_folder, replacing_dir

resource = pytest.importorskip("resource")


@contextlib.contextmanager
def full_disk(most=20_000):
    """No file may grow beyond some bytes, which stands for the disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_model_folder(tmp_path):
    model = be.Model("resnet18", num_classes=0, seed=0)
    with full_disk(), pytest.raises(OSError, match="File too large") as caught:
        model.save_pretrained(tmp_path / "a" / "b")
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(tmp_path / "a" / "b")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_was_there_stays(tmp_path):
    (tmp_path / "empty").mkdir()
    model = be.Model("resnet18", num_classes=0, seed=0)
    with full_disk(), pytest.raises(OSError, match="File too large"):
        model.save_pretrained(tmp_path / "empty")
    assert os.listdir(tmp_path) == ["empty"]
    assert os.listdir(tmp_path / "empty") == []


def _half(folder):
    """Write something beside a new folder, then fail."""
    with made_folder(folder) as made:
        (made.parent / "x").write_text("")
        raise KeyError


def test_a_folder_with_something_in_it_stays(tmp_path):
    with pytest.raises(KeyError):
        _half(tmp_path / "a" / "b")
    assert os.listdir(tmp_path / "a") == ["x"]


def test_the_parents_of_a_folder(tmp_path):
    with pytest.raises(OSError, match="disk"), replacing_dir(tmp_path / "a" / "b"):
        raise OSError(errno.ENOSPC, "the disk is full")
    assert os.listdir(tmp_path) == []


def test_an_mlflow_model(tmp_path):
    mlflow = pytest.importorskip("birdembed.integrations.mlflow")
    model = be.Model("resnet18", num_classes=0, seed=0)
    with full_disk(), pytest.raises(OSError, match="File too large"):
        mlflow.save_model(model, tmp_path / "m", input_example=False)
    assert os.listdir(tmp_path) == []
