"""Progress that cannot be written must not end a training."""

import errno
import io
import sys

import pytest

from birdembed import ImageFolder, fine_tune
from birdembed.training.progress import Reporter
from tests.support.small_training import EASY, new_model


class Broken(io.StringIO):
    """A standard error on a full disk, or a pipe that nobody reads."""

    def __init__(self, error, terminal):
        super().__init__()
        self.error, self.terminal, self.tries = error, terminal, 0

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.tries += 1
        raise self.error


ERRORS = [OSError(errno.ENOSPC, "No space left"), BrokenPipeError(), OSError(errno.EIO, "gone")]


@pytest.fixture(params=["terminal", "file"])
def broken(request, monkeypatch):
    def install(error):
        stream = Broken(error, request.param == "terminal")
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return install


@pytest.mark.parametrize("error", ERRORS, ids=["full", "pipe", "terminal that is gone"])
def test_a_reporter_ignores_errors_of_standard_error(broken, error):
    stream = broken(error)
    report = Reporter(True)
    report.say("begun")
    report.row("header", "row")
    report.start("epoch 1/1", 8)
    report.update(4, loss=0.5)
    report.warn("careful")
    report.close()
    assert stream.tries >= 3


def test_other_errors_are_not_ignored(broken):
    broken(ValueError("I/O operation on closed file"))
    with pytest.raises(ValueError, match="closed file"):
        Reporter(True).say("begun")


@pytest.mark.usefixtures("small_core")
def test_a_training_goes_on(uneven, broken):
    train = ImageFolder(uneven / "train")
    stream = broken(ERRORS[0])
    history = fine_tune(new_model(), train, None, 2, show_progress_bar=True, **EASY)
    assert len(history) == 2
    assert stream.tries
