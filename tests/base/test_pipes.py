"""A pipe into which nobody writes is an error wherever a file is read, and keeps nobody waiting."""

import os
import signal

import pytest

import birdembed as be
from birdembed.training.checkpoint import read_checkpoint


@pytest.fixture(autouse=True)
def impatient():
    """End a test that waits for the writer of a pipe."""
    if hasattr(signal, "alarm"):
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.alarm(60)
        yield
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def model():
    return be.Model("resnet18", num_classes=0, seed=0)


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_tables(pipe):
    with pytest.raises(OSError, match="got a pipe"):
        be.ImageFolder.from_csv(pipe)


def test_checkpoints(tmp_path):
    os.mkfifo(tmp_path / "last.json")
    with pytest.raises(be.WeightsError, match="got a pipe"):
        read_checkpoint(tmp_path)


def test_what_is_there_but_no_model_is_not_looked_for_on_the_hub(pipe, monkeypatch):
    monkeypatch.chdir(pipe.parent.parent)
    name = os.path.join(pipe.parent.name, "pipe")
    assert name.count("/") == 1  # as OWNER/NAME
    with pytest.raises(be.WeightsError, match="expected the folder of a model"):
        be.load_model(name)


def test_a_model_card_that_is_no_file_is_kept(model, tmp_path):
    (tmp_path / "m").mkdir()
    os.mkfifo(tmp_path / "m" / "README.md")
    model.save_pretrained(tmp_path / "m")
    assert be.load_model(tmp_path / "m").fingerprint == model.fingerprint
    assert not (tmp_path / "m" / "README.md").is_file()
