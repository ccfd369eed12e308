"""SupCon against its definition, written out naively."""

import math

import numpy as np
import pytest

from birdembed.training.losses import SupCon


def naive_supcon(features, labels, temperature):
    z = features / np.linalg.norm(features, axis=1, keepdims=True)
    terms = []
    for i in range(len(z)):
        positives = [p for p in range(len(z)) if p != i and labels[p] == labels[i]]
        if positives:
            below = sum(math.exp(z[i] @ z[a] / temperature) for a in range(len(z)) if a != i)
            terms.append(
                -sum(math.log(math.exp(z[i] @ z[p] / temperature) / below) for p in positives)
                / len(positives)
            )
    return sum(terms) / len(terms)


def test_supcon_is_the_papers_and_its_gradient_is_its_slope():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((9, 5))
    labels = np.array([0, 0, 1, 1, 1, 2, 2, 0, 3])
    loss = SupCon(temperature=0.3, weight=0.7)
    value, slope = loss(features, labels)
    assert value == pytest.approx(0.7 * naive_supcon(features, labels, 0.3), rel=1e-12)
    numeric = np.zeros_like(features)
    for at in np.ndindex(features.shape):
        for sign in (1, -1):
            moved = features.copy()
            moved[at] += sign * 1e-5
            numeric[at] += sign * loss(moved, labels)[0] / 2e-5
    assert np.abs(slope - numeric).max() < 1e-8
    assert np.abs(slope).max() > 0.01


def test_supcon_of_nothing_alike_of_zero_rows_and_of_float32():
    features = np.ones((3, 4), np.float32)
    value, slope = SupCon()(features, np.array([0, 1, 2]))
    assert value == 0
    assert slope.dtype == np.float32
    assert not slope.any()
    features[0] = 0
    value, slope = SupCon()(features, np.array([0, 0, 1]))
    assert math.isfinite(value)
    assert np.isfinite(slope).all()
    with pytest.raises(ValueError, match="temperature"):
        SupCon(temperature=0)
