"""Gradients of whole networks against torch in float64, beside torch's own in float32."""

import numpy as np
import pytest

import birdembed as be
from birdembed._core import WeightsError, parameter_table
from birdembed.training.batch_norm import conv_statistics, unfold
from tests.support import core_training as training
from tests.support import seeded, tolerances
from tests.support.core_training import CLASSES
from tests.support.networks import last_norm

N, SIZE = 16, 128


def unfolded_sscd():
    """The trunk of sscd with batch norms that hold statistics of 32 pictures; a random head."""
    try:
        trunk = be.load_model("sscd")
    except WeightsError as error:
        pytest.skip(str(error))
    table = parameter_table("resnet50", 0)
    network = trunk._current.trunk.network
    folded = dict(zip([name for name, _ in table], network.parameters(), strict=True))
    x = training.photographs(32, SIZE)
    state = unfold(folded, table, conv_statistics(network, [x], table, 0))
    state["fc.weight"] = seeded.uniform([1], (CLASSES, 2048), -0.05, 0.05)
    state["fc.bias"] = np.zeros(CLASSES, np.float32)
    return state


def random_state(architecture):
    """He's weights, batch norms at the identity, the last of each block at a half."""
    state, last = seeded.state(architecture, CLASSES), last_norm(architecture)
    for name in state:
        if name.endswith("running_var"):
            state[name][:] = 1
        elif name.endswith("running_mean") or "bn" in name or "downsample.2" in name:
            state[name][:] = name.endswith(".weight") * (0.5 if last in name else 1.0)
    return state


def measured(state, architecture, x):
    """The same with running statistics that fit `x`, as frozen ones do in practice."""
    core = training.trainer(architecture, state)
    core.configure("train", [False] * len(state), bn_momentum=1.0)
    core.forward(x)
    core.apply("sgd", training.constant(core, 0), training.constant(core, 0))
    return dict(zip(training.names(architecture), core.parameters(), strict=True))


@pytest.mark.parametrize("bn", ["train", "frozen_stats"])
@pytest.mark.parametrize(
    ("architecture", "count"),
    [
        # Of these, test_golden.py compares gradients in the fast tests.
        pytest.param("resnet50", 161, marks=pytest.mark.slow),
        pytest.param("resnet50d", 167, marks=pytest.mark.slow),
        pytest.param("resnet34d", 116, marks=pytest.mark.slow),
        ("resnet18", 62),
    ],
)
def test_photographs(architecture, count, bn):
    pytest.importorskip("torch")
    x, y = training.photographs(N, SIZE), training.targets(N)
    if architecture == "resnet50":
        state = unfolded_sscd()
    else:
        state = measured(random_state(architecture), architecture, x)
    expected = training.torch_step(architecture, state, x, y, double=True, bn=bn)
    ours = training.core_step(architecture, state, x, y, bn)
    found = training.distances(ours.gradients, expected.gradients)
    peers = [
        training.distances(step.gradients, expected.gradients)
        for step in training.layouts(architecture, state, x, y, bn=bn)
    ]
    worst = max(peer.max() for peer in peers)
    median = max(np.median(peer) for peer in peers)
    print(
        f"\n{architecture} {bn}: median {np.median(found):.2e} (torch {median:.2e}), "
        f"worst {found.max():.2e} (torch {worst:.2e})"
    )
    assert len(found) == count
    assert np.median(found) <= tolerances.GRADIENT_TIMES_TORCH * median
    assert found.max() <= tolerances.GRADIENT_TIMES_TORCH * worst
    assert abs(ours.loss - expected.loss) <= tolerances.LOSS_REL * expected.loss
    for name, values in ours.statistics.items():
        if bn == "train":
            error = training.distance(values, expected.statistics[name])
            assert error <= tolerances.RUNNING_STATISTICS_REL_L2, name
            assert not np.array_equal(values, state[name])
        else:
            np.testing.assert_array_equal(values, state[name], err_msg=name)


def without_ties(architecture, state):
    """Input of which no window of the max pool has two nearly equal maxima: a kink as well."""
    torch = pytest.importorskip("torch")
    network = training.torch_network(architecture, state, double=True)
    stem = torch.nn.Sequential(network.conv1, network.bn1, network.act1)
    for seed in range(50):
        x = seeded.tensor(seed, 4, 64, 64)
        with torch.no_grad():
            maps = stem(torch.from_numpy(x).double())
        windows = torch.nn.functional.unfold(maps.flatten(0, 1)[:, None], 3, padding=1, stride=2)
        largest = windows.topk(2, dim=1).values
        if (largest[:, 0] - largest[:, 1]).min() > 3e-6:  # rounding: 5e-7
            return x
    raise AssertionError("no such input found")


@pytest.mark.parametrize("bn", ["train", "frozen_stats"])
@pytest.mark.parametrize("architecture", ["resnet50", "resnet50d", "resnet18d", "resnet34"])
def test_open_relus(architecture, bn):
    """No ReLU near its kink: then float32 is near to float64 in every tensor."""
    pytest.importorskip("torch")
    state = random_state(architecture)
    for name in state:
        if state[name].ndim == 1 and name.endswith(".bias") and name != "fc.bias":
            state[name][:] = 4
        elif state[name].ndim == 1 and name.endswith(".weight"):
            state[name][:] = 0.5
    x, y = without_ties(architecture, state), training.targets(4)
    state = measured(state, architecture, x)
    expected = training.torch_step(architecture, state, x, y, double=True, bn=bn)
    ours = training.core_step(architecture, state, x, y, bn)
    found = {}
    for name, gradient in expected.gradients.items():
        difference = np.linalg.norm(ours.gradients[name] - gradient)
        # The batch norm behind a 1x1 convolution takes out every shift: the gradient of the bias
        # before it is zero, and is held against that of its weight.
        beside = expected.gradients[name.removesuffix("bias").removesuffix("weight") + "weight"]
        scale = max(np.linalg.norm(gradient), np.linalg.norm(beside) if "fc" not in name else 0)
        found[name] = difference / (scale if name.endswith("bias") else np.linalg.norm(gradient))
    worst = max(found, key=found.get)
    print(
        f"\n{architecture} {bn}, open: median {np.median(list(found.values())):.1e}, "
        f"worst {found[worst]:.1e} ({worst})"
    )
    assert found[worst] <= tolerances.OPEN_GRADIENT_REL_L2
