"""The core's trainer: steps that can be trusted, clear errors."""

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
from tests.support import ROOT, seeded
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


# --- trust -----------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_step_twice_gives_the_same_bits(threads):
    found = []
    for _ in range(2):
        core = training.trainer("resnet50d", seeded.state("resnet50d", CLASSES))
        found.append(training.results_of_a_step(core, X, Y, threads))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_step_takes_no_more_threads_than_there_are_cpus():
    """Its threads wait for each other without giving up the CPU: with 64 it took a minute."""
    found = []
    for threads in (_core.available_cpus(), 1024):
        core = training.trainer("resnet50", STATE)
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
    x, y = seeded.tensor(2, 8, 96, 96), training.targets(8)
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


def adamw_with(core, **options):
    core.apply("adamw", constant_rates, constant_rates, **options)


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
        (lambda c: adamw_with(c, beta1=-0.1), ValueError, "beta1.*at least 0"),
        (lambda c: adamw_with(c, beta1=np.nan), ValueError, "beta1"),
        (lambda c: adamw_with(c, beta2=1.0), ValueError, "beta2.*below 1"),
        (lambda c: adamw_with(c, beta2=1 - 1e-8), ValueError, "beta2.*float32"),
        (lambda c: adamw_with(c, eps=0.0), ValueError, "eps.*above 0"),
        (lambda c: adamw_with(c, eps=1e-50), ValueError, "eps.*float32"),
        (lambda c: adamw_with(c, eps=np.inf), ValueError, "eps.*finite"),
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


def test_adamw_takes_the_ends_of_its_ranges(core):
    backward(core, X, Y)
    nearest = float(np.nextafter(np.float32(1), np.float32(0)))
    for options in ({"beta1": 0.0, "beta2": 0.0}, {"beta1": nearest, "beta2": nearest}):
        core.apply("adamw", constant(core, 1e-3), constant(core, 0.1), **options)
        assert all(np.isfinite(array).all() for array in core.parameters())


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
