"""What the tests of a whole training share; their fixtures are in tests/training/conftest.py."""

from contextlib import contextmanager

import numpy as np

from birdembed import Callback, Model, Preprocess
from birdembed.training.checkpoint import read_checkpoint, write_checkpoint

EASY = {"image_size": 96, "batch_size": 8, "lr": 5e-3, "augment": None, "seed": 3}


def new_model(architecture="resnet50", **options):
    return Model(architecture, preprocess=Preprocess(size=96), **options)


def weights(model):
    return model.state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


class Stop(Callback):
    """Do something at a step."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step_end(self, trainer, logs):
        return self.action() if logs["step"] == self.step else None


def interrupt():
    raise KeyboardInterrupt


@contextmanager
def edited(folder):
    """Give a folder's checkpoint to change; it is written back as a whole one."""
    found = read_checkpoint(folder)
    yield found
    write_checkpoint(folder, found)


def unit(rows):
    """Return the rows scaled to length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
