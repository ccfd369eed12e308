"""int8 in the core: weights with a scale a filter, activations by what was seen on images."""

import os
import subprocess
import sys

import numpy as np
import pytest

from birdembed import _core
from tests.support import ROOT, seeded

CLASSES = 8
native = pytest.mark.skipif(
    not _core.backend()["int8"],
    reason=f"{_core.backend()['isa']}: this processor has no AVX2",
)


def parameters(architecture):
    state = seeded.state(architecture, CLASSES)
    return [state[name] for name, _ in _core.parameter_table(architecture, CLASSES)]


@pytest.fixture(scope="module", params=["resnet50", "resnet50d", "resnet18", "resnet34d"])
def calibrated(request):
    """A network in float32, and the same with the ranges of some images."""
    values = parameters(request.param)
    exact = _core.Network(request.param, CLASSES, values)
    largest = exact.largest(seeded.tensor(4, 4, 64, 64))
    return exact, _core.Network(request.param, CLASSES, values, largest.max(axis=0))


def test_ranges(calibrated):
    exact, _ = calibrated
    x = seeded.tensor(4, 3, 64, 64)
    largest = exact.largest(x)
    table = _core.parameter_table(exact.architecture, 0)
    assert largest.shape == (3, sum(len(shape) == 4 for _, shape in table) + 1)
    assert (largest > 0).all()
    np.testing.assert_array_equal(exact.largest(x[1:2], num_threads=1)[0], largest[1])
    np.testing.assert_array_equal(largest[:, -1], np.abs(x).max((1, 2, 3)))
    # The last convolution's output, behind residual and ReLU, is the feature map.
    assert np.isin(exact.maps(x).max((1, 2, 3)), largest).all()
    assert len(exact.largest(x[:0])) == 0


@native
def test_near_to_float32_and_the_same_in_every_batch(calibrated):
    exact, rounding = calibrated
    x = seeded.tensor(2, 9, 64, 64)
    whole = rounding.features(x, precision="int8")
    assert len(np.unique(whole, axis=0)) == 9
    a, b = exact.features(x).astype(np.float64), whole.astype(np.float64)
    cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    print(f"\n{exact.architecture}: cosine at least {cosine.min():.5f}")
    assert cosine.min() >= 0.99
    for threads in (1, 2, 3, 12):
        for n in (1, 2, 8, 9):
            found = rounding.features(x[:n], num_threads=threads, precision="int8")
            np.testing.assert_array_equal(found, whole[:n])
        alone = rounding.features(x[5:6], num_threads=threads, precision="int8")
        np.testing.assert_array_equal(alone[0], whole[5])


def test_a_calibrated_network_is_the_same_in_float32(calibrated):
    exact, rounding = calibrated
    x = seeded.tensor(2, 3, 64, 64)
    np.testing.assert_array_equal(exact.features(x), rounding.features(x))


@native
def test_values_beyond_the_ranges_end_there():
    values = parameters("resnet50")
    x = seeded.tensor(2, 2, 64, 64)
    narrow = _core.Network("resnet50", CLASSES, values, np.full(54, 1e-3, np.float32))
    maps = narrow.maps(x, precision="int8")
    assert np.isfinite(maps).all()
    assert maps.max() == np.float32(1e-3)


@native
def test_without_vnni():
    """The same on the kernels of AVX2, whose sums of two products are 16 bits wide."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    run = subprocess.run(
        [*words, "-k", "near_to_float32 or values_beyond"],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stdout
    assert "5 passed" in run.stdout


def test_refusals(calibrated):
    exact, _ = calibrated
    x = seeded.tensor(2, 1, 64, 64)
    with pytest.raises((ValueError, _core.BackendError), match=r"calibrated|AVX2"):
        exact.features(x, precision="int8")
    with pytest.raises(ValueError, match=r"'bfloat16' or 'int8', got 'int4'"):
        exact.features(x, precision="int4")
    with pytest.raises(ValueError, match="ranges must hold 54 numbers, got 3"):
        _core.Network("resnet50", CLASSES, parameters("resnet50"), np.ones(3, np.float32))
    trainer = _core.Trainer("resnet50", CLASSES, parameters("resnet50"))
    with pytest.raises(ValueError, match="int8"):
        trainer.configure("train", [True] * len(parameters("resnet50")), precision="int8")
