"""The core's trainer: optimizers beside torch's, steps that can be trusted, clear errors."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from birdembed import _core
from tests.support import ROOT, seeded, tolerances
from tests.support import core_training as training
from tests.support.core_training import CLASSES, backward, constant

TABLE = training.names("resnet50")
STATE = seeded.state("resnet50", CLASSES)
X, Y = seeded.tensor(1, 4, 64, 64), training.targets(4)


@pytest.fixture
def core():
    return training.trainer("resnet50", STATE)


def everything(core):
    """All that a step may change, copied."""
    kept = {"parameters": core.parameters(), **core.moments()}
    if core.ema() is not None:
        kept["ema"] = core.ema()
    return kept


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key in expected:
        for name, a, b in zip(TABLE, found[key], expected[key], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f"{key} {name}")


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


# --- trust -----------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_step_twice_gives_the_same_bits(threads):
    found = []
    for _ in range(2):
        core = training.trainer("resnet50d", seeded.state("resnet50d", CLASSES))
        found.append(training.results_of_a_step(core, X, Y, threads))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_state_of_a_run_can_be_moved(core):
    """Resuming: parameters, moments, average and step carry all there is."""
    options = {"kind": "adamw", "lr": constant(core, 1e-3), "weight_decay": constant(core, 0.1)}
    backward(core, X, Y)
    core.apply(**options, ema_decay=0.9)
    other = training.trainer("resnet50", STATE)
    other.set_parameters(core.parameters())
    other.set_moments(core.moments(), core.step_count)
    other.set_ema(core.ema())
    for trainer in (core, other):
        backward(trainer, X, Y)
        trainer.apply(**options, ema_decay=0.9)
    assert other.step_count == core.step_count == 2
    assert_same(everything(other), everything(core))


@pytest.mark.parametrize("bn", ["train", "frozen_stats"])
def test_nan_shows(bn):
    """From a pixel or any parameter; oneDNN's ReLU alone would make 0 of it."""
    core = training.trainer("resnet50", STATE, bn)
    x = X.copy()
    for bad in (np.nan, np.inf):
        x[1, 2, 3, 4] = bad
        assert np.isnan(backward(core, x, Y))
        assert np.isnan(core.grad_norm())
    for name in ("layer2.1.conv2.weight", "layer3.0.bn1.weight", "layer4.2.bn2.bias", "fc.bias"):
        state = {key: array.copy() for key, array in STATE.items()}
        state[name].flat[-1] = np.nan
        core.set_parameters([state[key] for key in TABLE])
        assert np.isnan(backward(core, X, Y)), name
    core.set_parameters([STATE[key] for key in TABLE])
    assert np.isfinite(backward(core, X, Y))  # and it is gone with the next batch
    assert np.isfinite(core.grad_norm())
    core.apply("sgd", constant(core, 0), constant(core, 0))
    assert all(np.isfinite(array).all() for array in core.parameters())


def test_interrupted_at_any_time(core):
    """Ctrl-C within a pass: nothing has changed, and the trainer goes on."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals arrive in the main thread only")
    x, y = seeded.tensor(2, 16, 128, 128), training.targets(16)
    backward(core, x, y)
    core.apply("adamw", constant(core, 1e-3), constant(core, 0), ema_decay=0.9)
    expected = everything(core)
    before = time.monotonic()
    backward(core, x, y)
    whole = time.monotonic() - before
    caught = {"forward": 0, "backward": 0}

    def interrupt(*_):
        raise KeyboardInterrupt

    def interrupted(call, seconds):
        timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        try:
            call()
            timer.join()
            time.sleep(1)  # the signal was later than the pass
        except KeyboardInterrupt:
            return True
        return False

    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        for part in (0.01, 0.06, 0.12):
            caught["forward"] += interrupted(lambda: core.forward(x), part * whole)
            assert_same(everything(core), expected)
            core.forward(x)
            core.head_loss(y)
            caught["backward"] += interrupted(core.backward, 2 * part * whole)
            assert_same(everything(core), expected)
            with pytest.raises(ValueError, match="forward pass"):
                core.backward()
    finally:
        signal.signal(signal.SIGINT, previous)
    assert caught["forward"] > 0
    assert caught["backward"] > 0
    other = training.trainer("resnet50", dict(zip(TABLE, core.parameters(), strict=True)))
    for trainer in (core, other):
        backward(trainer, x, y)
    for name, a, b in zip(TABLE, core.gradients(), other.gradients(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def test_one_call_at_a_time(core):
    """A second thread is told, and harms nothing."""
    x = seeded.tensor(2, 16, 160, 160)
    worker = threading.Thread(target=core.forward, args=(x,))
    refused = []
    worker.start()
    time.sleep(0.05)  # the worker is the first
    while worker.is_alive():
        for call in (
            lambda: core.forward(X),
            lambda: core.head_loss(Y),
            core.backward,
            core.grad_norm,
            core.gradients,
            core.parameters,
            core.network,
            lambda: core.configure("train", [True] * len(TABLE)),
            lambda: core.set_ema(None),
            lambda: core.apply("sgd", constant_rates, constant_rates),
        ):
            try:
                call()
            except RuntimeError as error:
                refused.append(str(error))
            except ValueError:
                pass  # the worker is done
    worker.join()
    assert refused
    assert all("one at a time" in message for message in refused)
    assert np.isfinite(backward(core, X, Y))


constant_rates = np.zeros(len(TABLE), np.float32)

FORKED = """
import os, sys, time
import numpy as np
from tests.support.core_training import backward, targets, trainer
from tests.support import seeded

core = trainer("resnet50", seeded.state("resnet50", 8))
x, y = seeded.tensor(1, 2, 64, 64), targets(2)
loss = backward(core, x, y)
expected = core.gradients()
child = os.fork()
if child == 0:
    same = backward(core, x, y) == loss
    found = core.gradients()
    os._exit(0 if same and all(map(np.array_equal, found, expected)) else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert backward(core, x, y) == loss
"""


def test_fork_after_training():
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", FORKED], env=env, check=True, timeout=120)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def memory_of_training():
    """MB that a second training takes, and that stay when it is over."""
    x, y = seeded.tensor(2, 8, 128, 128), training.targets(8)

    def train():
        core = training.trainer("resnet50", STATE)
        for _ in range(2):
            backward(core, x, y)
            core.apply("adamw", constant_rates, constant_rates, ema_decay=0.9)
        return resident()

    train()
    before = resident()
    return train() - before, resident() - before


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_memory_comes_back():
    # In a process of its own: what other tests leave may be given back in between.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        used, kept = pool.apply(memory_of_training)
    assert used > 300  # parameters, gradients, two moments, average: 90 MB each
    assert kept < 60


# --- errors ----------------------------------------------------------------------------------


def float64(array):
    return array.astype(np.float64)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda c: c.forward(float64(X)), TypeError, "pixels.*float32.*float64"),
        (lambda c: c.forward(X[0]), ValueError, "pixels.*4 dimensions"),
        (lambda c: c.forward(X[:, :2].copy()), ValueError, r"pixels.*\(4, 2, 64, 64\)"),
        (lambda c: c.forward(X[:, :, :32].copy()), ValueError, "pixels.*size"),
        (lambda c: c.forward(X[:, :, ::2, ::2]), ValueError, "pixels.*contiguous"),
        (lambda c: c.forward(seeded.tensor(1, 2, 40, 40)), ValueError, "multiple of 32, got 40"),
        (lambda c: c.forward(X[:0]), ValueError, "at least one"),
        (lambda c: c.forward(seeded.tensor(1, 1, 32, 32)), ValueError, "more than one pixel"),
        (lambda c: c.forward([1.0]), TypeError, "pixels.*NumPy"),
        (lambda c: c.head_loss(Y[:2]), ValueError, r"targets.*\(4, 8\), got \(2, 8\)"),
        (lambda c: c.head_loss(float64(Y)), TypeError, "targets.*float32"),
        (lambda c: c.head_loss(None), TypeError, "targets"),
        (lambda c: c.head_loss(Y, Y[0]), ValueError, r"weights.*\(4,\), got \(8,\)"),
        (lambda c: c.head_loss(Y, np.full(4, -1, np.float32)), ValueError, "weights.*negative"),
        (lambda c: c.backward(X[0]), ValueError, "d_features.*2 dimensions"),
        (lambda c: c.backward(np.zeros((4, 8), np.float32)), ValueError, r"d_features.*2048"),
        (lambda c: c.apply("adam", constant_rates, constant_rates), ValueError, "kind.*adam"),
        (
            lambda c: c.apply("sgd", constant_rates[:3], constant_rates),
            ValueError,
            r"lr.*\(267,\), got \(3,\)",
        ),
        (lambda c: c.apply("sgd", constant_rates, None), TypeError, "weight_decay"),
        (lambda c: c.configure("frosty", [True]), ValueError, "bn.*frosty"),
        (lambda c: c.configure("train", [True]), ValueError, "trainable.*got 1"),
        (lambda c: c.configure("train", 3), TypeError, "trainable"),
        (lambda c: c.configure("train", [True] * 267, 1.5), ValueError, "bn_momentum"),
        (lambda c: c.set_moments({}, -1), ValueError, "step.*-1"),
        (lambda c: c.set_parameters([]), ValueError, "hold"),
    ],
)
def test_errors_name_the_argument(shared, call, error, match):
    shared.forward(X)
    with pytest.raises(error, match=match):
        call(shared)


@pytest.fixture(scope="module")
def shared():
    return training.trainer("resnet50", STATE)


def test_errors_of_order(core):
    for call in (lambda: core.head_loss(Y), core.backward):
        with pytest.raises(ValueError, match="needs a forward pass"):
            call()
    backward(core, X, Y)
    with pytest.raises(ValueError, match="forward pass"):
        core.backward()  # only once
    headless = _core.Trainer("resnet50", 0, [STATE[name] for name in TABLE[:-2]])
    headless.configure("train", [True] * (len(TABLE) - 2))
    headless.forward(X)
    with pytest.raises(ValueError, match="no classifier"):
        headless.head_loss(Y)


def test_setters_are_all_or_nothing(core):
    """One tensor that does not fit, and nothing has changed."""
    expected = everything(core)
    bad = [array + 1 for array in core.parameters()]
    bad[7] = bad[7][:-1]
    for setter in (core.set_parameters, core.set_ema, lambda a: core.set_moments({"m": a}, 1)):
        with pytest.raises(ValueError, match=f"{TABLE[7]} must have shape"):
            setter(bad)
        assert_same(everything(core), expected)
    assert core.ema() is None
    assert core.step_count == 0
