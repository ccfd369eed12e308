"""Training in bfloat16: as near to float64 as torch's autocast is, and as good as float32."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import birdembed as be
from birdembed import _core
from tests.golden import make_training
from tests.support import ROOT, seeded, tolerances
from tests.support import core_training as training
from tests.support.core_training import CLASSES, backward
from tests.training.test_gradients import measured, random_state, unfolded_sscd

NATIVE = _core.backend()["bfloat16"]

native = pytest.mark.skipif(
    not NATIVE, reason=f"{_core.backend()['isa']}: this processor has no bfloat16"
)


@native
@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "bn"),
    [("resnet50", "train"), ("resnet50d", "frozen_stats"), ("resnet34d", "train")],
)
def test_gradients_of_photographs(architecture, bn):
    pytest.importorskip("torch")
    x, y = training.photographs(16, 96), training.targets(16)
    if architecture == "resnet50":
        state = unfolded_sscd()
    else:
        state = measured(random_state(architecture), architecture, x)
    expected = training.torch_step(architecture, state, x, y, double=True, bn=bn)
    ours = training.core_step(architecture, state, x, y, bn, precision="bfloat16")
    found = training.distances(ours.gradients, expected.gradients)
    peers = training.layouts(architecture, state, x, y, bn=bn, bfloat16=True)
    theirs = [training.distances(step.gradients, expected.gradients) for step in peers]
    median, worst = max(np.median(d) for d in theirs), max(d.max() for d in theirs)
    print(
        f"\n{architecture} {bn} bfloat16: median {np.median(found):.2e} (torch {median:.2e}), "
        f"worst {found.max():.2e} (torch {worst:.2e}), "
        f"loss {ours.loss - expected.loss:.1e} (torch {peers[1].loss - expected.loss:.1e})"
    )
    assert np.median(found) <= tolerances.BFLOAT16_TIMES_TORCH * median
    assert found.max() <= tolerances.BFLOAT16_TIMES_TORCH * worst
    assert all(array.dtype == np.float32 for array in ours.gradients.values())
    if bn == "frozen_stats":
        for name, values in ours.statistics.items():
            np.testing.assert_array_equal(values, state[name], err_msg=name)


@native
@pytest.mark.slow
def test_losses_of_ten_steps():
    pytest.importorskip("torch")
    state = unfolded_sscd()
    batches, y = training.mirrored(training.photographs(16, 96), 10), training.targets(16)
    exact = training.torch_losses(
        training.torch_network("resnet50", state), batches, y, **make_training.STEPS
    )
    found = training.core_losses(
        "resnet50", state, batches, y, precision="bfloat16", **make_training.STEPS
    )
    theirs = training.torch_losses(
        training.torch_network("resnet50", state, channels_last=True),
        batches,
        y,
        bfloat16=True,
        **make_training.STEPS,
    )
    off, limit = np.abs(found - exact), np.abs(theirs - exact)
    print(f"\nfloat32 {exact}\noff by {off}\ntorch's {limit}")
    assert exact[-1] < exact[0]
    assert off.max() <= tolerances.BFLOAT16_TIMES_TORCH * limit.max()


@native
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_step_twice_gives_the_same_bits(threads):
    x, y = seeded.tensor(1, 4, 64, 64), training.targets(4)
    found = []
    for _ in range(2):
        core = training.trainer(
            "resnet50d", seeded.state("resnet50d", CLASSES), precision="bfloat16"
        )
        found.append(training.results_of_a_step(core, x, y, threads))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@native
def test_nan_shows():
    state = seeded.state("resnet50", CLASSES)
    core = training.trainer("resnet50", state, precision="bfloat16")
    x, y = seeded.tensor(1, 4, 64, 64), training.targets(4)
    x[1, 2, 3, 4] = np.inf
    assert np.isnan(backward(core, x, y))
    x[1, 2, 3, 4] = 0
    assert np.isfinite(backward(core, x, y))


@native
def test_precisions_share_a_trainer():
    """A new precision needs a new plan, and nothing of the old one is left."""
    state = seeded.state("resnet50", CLASSES)
    x, y = seeded.tensor(1, 4, 64, 64), training.targets(4)
    core = training.trainer("resnet50", state)
    exact, size = backward(core, x, y), core.nbytes
    core.configure("train", [True] * len(state), precision="bfloat16")
    rounded = backward(core, x, y)
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.05)
    assert core.nbytes < size
    core.configure("train", [True] * len(state))
    assert backward(core, x, y) == exact


WITHOUT = """
import numpy as np
from tests.support import seeded
from tests.support import core_training as training

state = seeded.state("resnet50", 8)
core = training.trainer("resnet50", state, precision="bfloat16")
try:
    core.forward(seeded.tensor(1, 2, 64, 64))
except Exception as error:
    print(type(error).__name__, error)
core.configure("train", [True] * len(state))
assert np.isfinite(training.backward(core, seeded.tensor(1, 2, 64, 64), training.targets(2)))
"""


def test_without_it_the_way_out_is_named():
    env = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    env["PYTHONPATH"] = str(ROOT)
    run = subprocess.run([sys.executable, "-c", WITHOUT], env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("BackendError"), run.stdout
    assert "AVX512_BF16 or AMX" in run.stdout
    assert "float32" in run.stdout


@native
@pytest.mark.skipif("BIRDEMBED_DATA" not in os.environ, reason="BIRDEMBED_DATA is not set")
def test_a_fine_tuning_is_as_good_as_in_float32():
    root = Path(os.environ["BIRDEMBED_DATA"])
    data = be.ImageFolder(root / "train")
    data = data.select(data.class_names[:4], per_class=24)
    train, valid = data.split(valid=1 / 3, seed=0)
    accuracy = {}
    for precision in ("float32", "bfloat16"):
        try:
            model = be.load_model("sscd")
        except be.WeightsError as error:
            pytest.skip(str(error))
        history = be.fine_tune(
            model, train, valid, 3, image_size=96, eval_size=96, batch_size=16, ema=None,
            precision=precision, seed=1,
        )  # fmt: skip
        accuracy[precision] = history.best["valid_accuracy"]
    print(f"\n{accuracy}")
    assert accuracy["float32"] >= 0.6
    assert abs(accuracy["bfloat16"] - accuracy["float32"]) <= tolerances.BFLOAT16_ACCURACY
