"""A step of the core: optimizers beside torch's, what adds up, what is frozen."""

import numpy as np
import pytest

from birdembed import _core
from birdembed.training import adamw
from tests.support import core_training as training
from tests.support import seeded, tolerances
from tests.support.core_training import CLASSES, backward, constant

TABLE = training.names("resnet50")
STATE = seeded.state("resnet50", CLASSES)
X, Y = seeded.tensor(1, 4, 64, 64), training.targets(4)


@pytest.fixture
def core():
    return training.trainer("resnet50", STATE)


# --- optimizers ------------------------------------------------------------------------------

# The parts that have all kinds of parameters and cost the optimizers little.
SMALL = [name.startswith(("conv1", "bn1", "layer1.0", "fc")) for name in TABLE]


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "sgd", "momentum": 0.0},
        {"kind": "sgd", "momentum": 0.9},
        {"kind": "sgd", "momentum": 0.9, "nesterov": True},
        {"kind": "adamw"},
        {"kind": "adamw", "beta1": 0.8, "beta2": 0.99, "eps": 1e-6},
    ],
    ids=["sgd", "momentum", "nesterov", "adamw", "adamw-betas"],
)
def test_optimizers_follow_torch(options):
    torch = pytest.importorskip("torch")
    core = training.trainer("resnet50", STATE, trainable=SMALL)
    decays = [0.05 if STATE[name].ndim > 1 else 0.0 for name in TABLE]
    rates = [2e-3 if name.startswith("fc") else 1e-3 for name in TABLE]
    tensors = {
        i: torch.nn.Parameter(torch.from_numpy(STATE[name].copy()))
        for i, name in enumerate(TABLE)
        if SMALL[i] and not training.is_statistic(name)
    }
    groups = [
        {"params": [tensor], "lr": rates[i], "weight_decay": decays[i]}
        for i, tensor in tensors.items()
    ]
    if options["kind"] == "sgd":
        peer = torch.optim.SGD(
            groups, momentum=options["momentum"], nesterov=options.get("nesterov", False)
        )
    else:
        betas = options.get("beta1", 0.9), options.get("beta2", 0.999)
        peer = torch.optim.AdamW(groups, betas=betas, eps=options.get("eps", 1e-8))
    for step in range(10):
        backward(core, np.roll(X, step, axis=3), Y)
        gradients = core.gradients()
        scale = 0.5 if step % 2 else 1.0  # clipping
        for i, tensor in tensors.items():
            tensor.grad = torch.from_numpy(gradients[i] * np.float32(scale))
        peer.step()
        core.apply(
            lr=np.array(rates, np.float32),
            weight_decay=np.array(decays, np.float32),
            grad_scale=scale,
            **options,
        )
    assert core.step_count == 10
    found = core.parameters()
    for i, name in enumerate(TABLE):
        if i in tensors:
            expected = tensors[i].detach().numpy()
            assert np.abs(expected - STATE[name]).max() > 1e-4, name  # it moved
            difference = np.abs(found[i] - expected).max()
            assert difference <= tolerances.OPTIMIZER, name
        elif not training.is_statistic(name):
            np.testing.assert_array_equal(found[i], STATE[name], err_msg=name)


def test_adamw_in_python_has_the_cores_numbers():
    found = []
    for given in ({}, {"beta1": adamw.BETA1, "beta2": adamw.BETA2, "eps": adamw.EPS}):
        core = training.trainer("resnet50", STATE, trainable=SMALL)
        backward(core, X, Y)
        core.apply("adamw", constant(core, 1e-3), constant(core, 0.1), **given)
        found.append({"parameters": core.parameters(), **core.moments()})
    for key in found[0]:
        for name, a, b in zip(TABLE, found[0][key], found[1][key], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f"{key} {name}")


def test_average_of_weights(core):
    """From the weights before the first step on, running statistics included."""
    expected = [array.astype(np.float64) for array in core.parameters()]
    assert core.ema() is None
    for decay in (0.9, 0.5, 0.99):
        backward(core, X, Y)
        core.apply("adamw", constant(core, 1e-3), constant(core, 0), ema_decay=decay)
        for mean, now in zip(expected, core.parameters(), strict=True):
            mean += (1 - decay) * (now - mean)
    for name, a, b in zip(TABLE, core.ema(), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=name)
    for name, a, b in zip(TABLE, core.network(ema=True).parameters(), core.ema(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    core.set_ema(None)
    assert core.ema() is None
    with pytest.raises(ValueError, match="average"):
        core.network(ema=True)


def test_norm_is_that_of_the_gradients(core):
    backward(core, X, Y)
    gradients = core.gradients()
    norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradients))
    assert core.grad_norm() == pytest.approx(norm, rel=1e-9)
    assert norm > 0


def test_accumulation_is_a_larger_batch():
    core = training.trainer("resnet50", STATE, "frozen_stats")
    backward(core, X, Y)
    whole = core.gradients()
    backward(core, X[:3], Y[:3], scale=0.75)
    backward(core, X[3:], Y[3:], scale=0.25, accumulate=True)
    for name, a, b in zip(TABLE, core.gradients(), whole, strict=True):
        if not training.is_statistic(name):
            assert training.distance(a, b) <= tolerances.ACCUMULATED_REL_L2, name


def test_accumulation_moves_statistics_twice(core):
    """As two forward passes of torch do; nothing is committed before the optimizer's step."""
    backward(core, X, Y)
    backward(core, X[::-1].copy(), Y, accumulate=True)
    before = core.parameters()
    core.apply("sgd", constant(core, 0), constant(core, 0))
    twice = core.parameters()
    other = training.trainer("resnet50", STATE)
    for x in (X, X[::-1].copy()):
        backward(other, x, Y)
        other.apply("sgd", constant(other, 0), constant(other, 0))
    for name, now, then, old in zip(TABLE, twice, other.parameters(), before, strict=True):
        np.testing.assert_array_equal(old, STATE[name])
        np.testing.assert_array_equal(now, then, err_msg=name)
        if training.is_statistic(name):
            assert not np.array_equal(now, old), name


def test_pictures_of_weight_0_teach_nothing(core):
    core.forward(X)
    loss, logits = core.head_loss(Y, np.zeros(len(X), np.float32))
    core.backward()
    assert loss == 0
    assert np.isfinite(logits).all()
    assert not any(gradient.any() for gradient in core.gradients())


def test_statistics_without_backward(core):
    """Recalibration: forward, apply. With momentum 1 they are the batch's own."""
    network = _core.Network("resnet50", CLASSES, [STATE[name] for name in TABLE])
    core.configure("train", [True] * len(TABLE), bn_momentum=1.0)
    core.forward(X)
    core.apply("sgd", constant(core, 0), constant(core, 0))
    at = TABLE.index("bn1.running_mean")
    measured = network.conv_statistics(X)  # of the first convolution: the same input
    pixels = X.shape[0] * 32 * 32
    np.testing.assert_allclose(core.parameters()[at], measured[at], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        core.parameters()[at + 1], measured[at + 1] * pixels / (pixels - 1), rtol=1e-5
    )


def test_gradient_at_the_features(core):
    """A loss of the caller's alone, and on top of the classifier's; scaled together."""
    d_features = seeded.uniform([9], (4, 2048), -1e-3, 1e-3)
    core.forward(X)
    core.backward(d_features)
    own = core.gradients()
    assert not own[TABLE.index("fc.weight")].any()
    backward(core, X, Y)
    head = core.gradients()
    backward(core, X, Y, d_features=d_features, scale=0.5)
    for name, a, b, both in zip(TABLE, own, head, core.gradients(), strict=True):
        if not training.is_statistic(name):
            assert training.distance(both, (a + b) / 2) <= tolerances.ACCUMULATED_REL_L2, name


# --- freezing --------------------------------------------------------------------------------


def test_frozen_prefix(core):
    backward(core, X, Y)
    size = core.nbytes
    for prefix in (("conv1", "bn1"), ("conv1", "bn1", "layer1", "layer2", "layer3")):
        trainable = [not name.startswith(prefix) for name in TABLE]
        # The same batch norms frozen, hence normalising by their running statistics.
        core.configure(
            "train",
            [free or STATE[name].ndim == 4 for name, free in zip(TABLE, trainable, strict=True)],
        )
        backward(core, X, Y)
        whole = core.gradients()
        core.configure("train", trainable)
        backward(core, X, Y)
        for name, free, a, b in zip(TABLE, trainable, core.gradients(), whole, strict=True):
            np.testing.assert_array_equal(a, b if free else np.zeros_like(b), err_msg=name)
        assert core.nbytes < size  # nothing is kept for a backward pass that is not run
        size = core.nbytes


def test_frozen_batch_norm():
    core = training.trainer("resnet50", STATE, "frozen_stats")
    backward(core, X, Y)
    trained = core.gradients()
    core.configure("frozen", [True] * len(TABLE))
    backward(core, X, Y)
    core_gradients = core.gradients()
    core.apply("sgd", constant(core, 1e-3), constant(core, 0))
    for name, a, b, now in zip(TABLE, core_gradients, trained, core.parameters(), strict=True):
        if STATE[name].ndim == 1 and name != "fc.bias":
            assert not a.any(), name
            np.testing.assert_array_equal(now, STATE[name], err_msg=name)
        else:
            np.testing.assert_array_equal(a, b, err_msg=name)
            assert not np.array_equal(now, STATE[name]), name
