"""The same loop on the core's own trainer: a network that learns, stops and goes on."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from birdembed import (
    Callback,
    Distill,
    ImageFolder,
    SupCon,
    Trainer,
    _core,
    fine_tune,
    recalibrate_batch_norm,
)
from tests.support import ROOT, train_run
from tests.support.small_training import Stop, interrupt, new_model, same
from tests.support.train_data import make_folder

if not hasattr(_core, "Trainer"):
    pytest.skip("this core has no trainer yet", allow_module_level=True)

OPTIONS = {"image_size": 96, "batch_size": 8, "lr": 1e-3, "num_threads": 2}
SMALL = {"epochs": 1, "image_size": 96, "batch_size": 4, "accumulate": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    make_folder(root / "train", per_class=4)
    make_folder(root / "valid", per_class=3, seed=1)
    return root


@pytest.fixture(scope="module")
def train(root):
    return ImageFolder(root / "train")


@pytest.fixture(scope="module")
def valid(root):
    return ImageFolder(root / "valid")


def test_it_learns(train, valid):
    model = new_model()
    history = fine_tune(model, train, valid, 5, loss=SupCon(), **OPTIONS)
    losses = [logs["train_loss"] for logs in history.epochs]
    assert losses[-1] < 0.8 * losses[0], losses
    assert model.predict(valid.paths[0], 1)[0][1] > 0.25
    assert model.encode(valid.paths[:2]).shape == (2, 2048)


@pytest.mark.parametrize("form", ["map", "relation"])
def test_it_learns_from_a_teacher_that_sees_the_same_view_without_labels(train, form):
    teacher = new_model("resnet18", seed=1)

    def embed(pixels):
        return teacher.forward_tensor(pixels)[:, :8] + 0.01

    model, data = new_model("resnet18"), ImageFolder.from_paths(train.paths)
    history = fine_tune(model, data, epochs=4, loss=Distill(embed, form=form), **OPTIONS)
    losses = [logs["train_loss"] for logs in history.epochs]
    assert losses[-1] < losses[0], losses
    assert model.num_classes == 0
    assert model.encode(train.paths[:2]).shape == (2, 512)
    if form == "map":
        assert model.encode(train.paths[:2], projection=True).shape == (2, 8)


def test_unlabelled_images_and_a_map_resume_to_the_bit(train, tmp_path):
    labels = [name if i % 3 else None for i, name in enumerate(train.names)]
    data = ImageFolder.from_lists(train.paths, labels)
    rows = np.random.default_rng(0).normal(size=(len(data), 5))

    def run(model, folder, **options):
        loss = [SupCon(), Distill(rows)]
        fine_tune(model, data, epochs=2, loss=loss, checkpoint_dir=folder, **OPTIONS | options)
        return model

    whole = run(new_model("resnet18"), tmp_path / "a")

    model = new_model("resnet18")
    with pytest.raises(KeyboardInterrupt):
        run(model, tmp_path / "b", callbacks=Stop(3, interrupt))
    run(model, tmp_path / "b", resume=True)
    assert same(model.state_dict(), whole.state_dict())
    paths = train.paths[:2]
    wanted = whole.encode(paths, projection=True)
    assert np.array_equal(model.encode(paths, projection=True), wanted)


def test_frozen_parts_stay_to_the_bit(train):
    model = new_model(num_classes=4)
    before = model.state_dict()
    fine_tune(model, train, None, freeze=("conv1", "bn1", "layer1."),
              **{**OPTIONS, "epochs": 1})  # fmt: skip
    after = model.state_dict()
    for name in before:
        if name.startswith(("conv1", "bn1", "layer1.")):
            assert np.array_equal(before[name], after[name]), name
    assert not np.array_equal(before["layer2.0.conv1.weight"], after["layer2.0.conv1.weight"])


def test_gradients_by_name(train):
    trainer = Trainer(new_model(), train, **OPTIONS)
    x = np.random.default_rng(0).standard_normal((4, 3, 96, 96)).astype(np.float32)
    loss = trainer.step(x, np.arange(4))
    slopes = trainer.gradients()
    assert loss == pytest.approx(np.log(4), rel=0.5)
    assert len(slopes) == 161
    assert all(np.isfinite(g).all() and g.any() for g in slopes.values())
    assert trainer.model.num_classes == 4


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_killed_at_three_random_steps_and_resumed_ends_with_the_same_bits(
    root, tmp_path, precision
):
    """SIGKILL from outside, at some moment of a random step: in the middle of it, of writing."""
    if precision == "bfloat16" and not _core.backend()["bfloat16"]:
        pytest.skip("this processor has no bfloat16")
    options = {**SMALL, "epochs": 2, "checkpoint_every": 2, "precision": precision}
    train_run.main(root, tmp_path / "whole", tmp_path / "whole.npz", **options)
    seed = int.from_bytes(os.urandom(4), "little")
    rng = np.random.default_rng(seed)
    kills = sorted(int(step) for step in rng.choice(np.arange(1, 7), 3, replace=False))
    code = "import sys; from tests.support import train_run; "
    code += f"train_run.main(*sys.argv[1:], 0, True, **{options!r})"
    ends = []
    for kill_at in (*kills, None):
        run = subprocess.Popen(
            [sys.executable, "-c", code, root, tmp_path / "k", tmp_path / "k.npz"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in run.stdout:
            if kill_at is not None and int(line) >= kill_at:
                time.sleep(rng.uniform(0, 0.15))
                run.kill()
                break
        run.stdout.close()
        ends.append(run.wait())
    # A run that was past its step when it began may have ended before the signal came.
    assert ends[0] == -signal.SIGKILL, (seed, kills)
    assert ends[-1] == 0, (seed, kills)
    with np.load(tmp_path / "whole.npz") as a, np.load(tmp_path / "k.npz") as b:
        assert same(dict(a), dict(b)), (seed, kills)


def test_ctrl_c_in_a_step_leaves_no_trace_of_it(train, tmp_path):
    class Signal(Callback):
        """Let Ctrl-C fall into the step after the second."""

        def on_step_end(self, trainer, logs):
            if logs["step"] == 2:
                signal.setitimer(signal.ITIMER_REAL, 0.05)

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    model = new_model()
    try:
        with pytest.raises(KeyboardInterrupt):
            fine_tune(model, train, None, 3, callbacks=Signal(), checkpoint_dir=tmp_path,
                      ema=None, head_epochs=0, **OPTIONS)  # fmt: skip
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    stopped = Trainer.resume(tmp_path, train)
    assert stopped.step_count in (2, 3)
    reference = Trainer(new_model(), train, None, ema=None, head_epochs=0, epochs=3,
                        callbacks=EndAfter(stopped.step_count), **OPTIONS)  # fmt: skip
    reference.fit()
    assert same(model.state_dict(), reference.model.state_dict())


class EndAfter(Callback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, trainer, logs):
        return logs["step"] < self.step


def test_recalibration(train):
    model = new_model()
    before = model.state_dict()
    recalibrate_batch_norm(model, train, batch_size=16)
    after = model.state_dict()
    assert not np.array_equal(before["bn1.running_mean"], after["bn1.running_mean"])
    for name in before:
        if "running" not in name:
            assert np.array_equal(before[name], after[name]), name
