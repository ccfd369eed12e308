"""A training in a process of its own, for tests that kill it.

    python train_run.py DATA CHECKPOINTS OUTPUT [KILL_AT_STEP]

Trains the small stand-in, resuming where there is a checkpoint, and writes the final weights to
OUTPUT; at KILL_AT_STEP it kills itself with SIGKILL.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from birdembed import Callback, ImageFolder, Model, Preprocess, SupCon, fine_tune
from tests.support import fake_core_trainer as fake

OPTIONS = {
    "epochs": 3,
    "image_size": [(1, 96), (2, 128)],
    "batch_size": 8,
    "checkpoint_every": 4,
    "loss": SupCon(),
    "accumulate": 2,
    "optimizer": "adamw",
}


class Kill(Callback):
    def __init__(self, step, tell):
        self.step, self.tell = step, tell

    def on_step_end(self, trainer, logs):
        if self.tell:
            print(logs["step"], flush=True)
        if logs["step"] == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def main(data, checkpoints, output, kill_at=0, tell=False, **options):
    data = Path(data)
    model = Model("resnet50", preprocess=Preprocess(size=96))
    history = fine_tune(
        model,
        ImageFolder(data / "train"),
        ImageFolder(data / "valid"),
        resume=True,
        checkpoint_dir=checkpoints,
        callbacks=Kill(int(kill_at), tell),
        **{**OPTIONS, **options},
    )
    losses = np.array([[e["train_loss"], e["valid_loss"], e["lr"]] for e in history.epochs])
    np.savez(output, losses=losses, **model.state_dict())


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        fake.install(patch)
        main(*sys.argv[1:])
