"""Gradients and losses of the seeded networks against float64 values from torch: needs no torch."""

import numpy as np
import pytest

from tests.golden import make_training
from tests.support import core_training as training
from tests.support import seeded, tolerances


@pytest.fixture(params=make_training.ARCHITECTURES)
def golden(request):
    with np.load(make_training.FOLDER / f"training_{request.param}.npz") as file:
        return request.param, dict(file)


@pytest.mark.parametrize("bn", make_training.MODES)
def test_gradients(golden, bn):
    architecture, stored = golden
    x, y = make_training.batch()
    step = training.core_step(architecture, seeded.state(architecture, training.CLASSES), x, y, bn)
    expected = stored[f"{bn}.norms"], stored[f"{bn}.entries"]
    assert len(step.gradients) == len(expected[0])
    found = make_training.errors(make_training.summary(step), expected)
    for kind, values in zip(("norms", "entries"), found, strict=True):
        worst, median = stored[f"{bn}.{kind}.worst"], stored[f"{bn}.{kind}.median"]
        print(
            f"\n{architecture} {bn} {kind}: median {np.median(values):.1e} (torch {median:.1e}), "
            f"worst {values.max():.1e} (torch {worst:.1e})"
        )
        times, rounding = tolerances.GOLDEN_TIMES_TORCH, tolerances.GOLDEN_ROUNDING
        assert np.median(values) <= max(times * median, rounding)
        assert values.max() <= max(times * worst, 5 * rounding)
    assert abs(step.loss - stored[f"{bn}.loss"]) <= tolerances.LOSS_REL * stored[f"{bn}.loss"]


def assert_losses(found, expected, torch):
    """Within twice the largest distance that torch's float32 has had in these steps.

    AdamW's first steps are nearly signs of the gradient: roundings grow, by chance at this step
    or at that one.
    """
    difference = np.abs(found - expected)
    print(f"\nfloat64 {expected.round(3)}\nours off by {difference}\ntorch's float32 by {torch}")
    assert difference[0] <= tolerances.LOSS_REL * expected[0]
    assert difference.max() <= tolerances.LOSS_TIMES_TORCH * torch.max()
    assert np.median(difference) <= tolerances.LOSS_TIMES_TORCH * np.median(torch)
    assert expected[-1] < expected[0]


def test_ten_steps(golden):
    architecture, stored = golden
    batches, y = make_training.ten_batches()
    state = seeded.state(architecture, training.CLASSES)
    found = training.core_losses(architecture, state, batches, y, **make_training.STEPS)
    assert_losses(found, stored["losses"], stored["losses.torch"])


@pytest.mark.slow
def test_ten_steps_from_sscd():
    """Photographs, lr 1e-4; float64 takes its time."""
    from tests.training.test_gradients import unfolded_sscd

    pytest.importorskip("torch")
    state = unfolded_sscd()
    batches, y = training.mirrored(training.photographs(16, 96), 10), training.targets(16)
    made = [
        training.torch_losses(
            training.torch_network("resnet50", state, **options), batches, y, **make_training.STEPS
        )
        for options in ({"double": True}, {}, {"channels_last": True})
    ]
    found = training.core_losses("resnet50", state, batches, y, **make_training.STEPS)
    assert_losses(found, made[0], np.abs(np.array(made[1:]) - made[0]).max(0))
