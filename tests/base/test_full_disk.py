"""Nothing is left of what does not fit on the disk: no file, and no empty folder."""

import contextlib
import errno
import os

import numpy as np
import pytest

import birdembed as be
from birdembed.base.files import made_folder, replacing, replacing_dir
from birdembed.cli.embed import write_npy

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
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    from birdembed.integrations import mlflow

    model = be.Model("resnet18", num_classes=0, seed=0)
    with full_disk(), pytest.raises(OSError, match="File too large"):
        mlflow.save_model(model, tmp_path / "m", input_example=False)
    assert os.listdir(tmp_path) == []


def test_the_error_names_the_file_that_it_is_about(tmp_path):
    def copy(source):
        with replacing(tmp_path / "new") as temporary:
            temporary.write_bytes(source.read_bytes())

    with pytest.raises(FileNotFoundError) as caught:
        copy(tmp_path / "gone")
    assert caught.value.filename == str(tmp_path / "gone")
    (tmp_path / "old").write_bytes(bytes(30_000))
    with full_disk(), pytest.raises(OSError, match="File too large") as caught:
        copy(tmp_path / "old")
    assert caught.value.filename == str(tmp_path / "new")
    assert os.listdir(tmp_path) == ["old"]


def test_vectors_and_names_of_embed(tmp_path):
    index = be.Index(1000)
    index.add(["a"] + [f"b{i}" for i in range(9)], [[1.0] * 1000] * 10)
    with full_disk(), pytest.raises(OSError, match="File too large") as caught:
        write_npy(index, str(tmp_path / "x.npy"))
    assert caught.value.filename == str(tmp_path / "x.npy")
    assert os.listdir(tmp_path) == []
    write_npy(index, str(tmp_path / "x.npy"))
    assert (np.load(tmp_path / "x.npy") == index.embeddings).all()
    assert (tmp_path / "x.names.txt").read_text().split() == index.ids.tolist()
