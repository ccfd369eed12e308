"""Turn scores into the probability that the nearest species is right.

A logistic regression on the best score and its margin over the second species: three numbers, so
that a few hundred images fix them (Platt 1999, with two scores in place of one).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Fewer held-out images than this say too little of a probability.
LEAST = 50
_FOLDS = 5
_BINS = 10
_RIDGE = 1e-4  # keeps the slopes finite where a score separates right from wrong
_STEPS = 100


@dataclass(frozen=True)
class Calibration:
    """The numbers of the probability ``1 / (1 + exp(-(bias + score * s + margin * m)))``.

    s is the best score and m what it has over the second species.
    """

    bias: float
    score: float
    margin: float

    @classmethod
    def from_values(cls, values: Mapping[str, Any] | None) -> Calibration | None:
        """Return the calibration of which `to_dict` made these values, None of None."""
        return None if values is None else cls(**values)

    def to_dict(self) -> dict[str, float]:
        """Return the numbers as plain values."""
        return asdict(self)

    def probability(self, scores: Any, margins: Any) -> Array:
        """Return the probability behind each best score and its margin."""
        logits = self.bias + self.score * np.asarray(scores) + self.margin * np.asarray(margins)
        return np.asarray(0.5 + 0.5 * np.tanh(0.5 * logits), np.float64)  # no overflow


def best_and_margin(scores: Array) -> tuple[Array, Array]:
    """Return the best score of each row and its margin over the second, of two columns or more."""
    top = np.partition(scores, scores.shape[1] - 2, axis=1)[:, -2:]
    return top[:, 1], top[:, 1] - top[:, 0]


def fit_calibration(
    scores: Array, margins: Array, right: NDArray[np.bool_], weights: Array
) -> Calibration:
    """Fit the probability that the nearest species is right.

    Neither slope is negative: a better score or a larger margin never makes an answer less
    likely. A slope that would be is 0, and the rest is fitted without it.

    Parameters
    ----------
    scores, margins : (n,) float64
        The best score of each held-out image and its margin over the second species.
    right : (n,) bool
        Whether the best score is that of the image's own species.
    weights : (n,) float64
        How much each image counts.
    """
    # Platt's targets: as if one more right answer had been wrong, so that nothing is certain.
    n_right, n_wrong = int(right.sum()), int((~right).sum())
    targets = np.where(right, (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2))
    columns = np.stack([scores, margins], axis=1)
    used = [0, 1]
    while True:
        bias, slopes = _logistic(columns[:, used], targets, weights)
        if not used or slopes.min() >= 0:
            break
        del used[int(np.argmin(slopes))]
    full = np.zeros(2)
    full[used] = slopes
    return Calibration(bias, float(full[0]), float(full[1]))


def held_out_probabilities(
    scores: Array, margins: Array, right: NDArray[np.bool_], weights: Array
) -> Array:
    """Return the probability of each image by a fit on four fifths of the others."""
    fold = np.arange(len(scores)) % _FOLDS
    found = np.empty(len(scores))
    for held in range(_FOLDS):
        own, rest = fold == held, fold != held
        fit = fit_calibration(scores[rest], margins[rest], right[rest], weights[rest])
        found[own] = fit.probability(scores[own], margins[own])
    return found


def reliability(
    probabilities: Array, right: NDArray[np.bool_], weights: Array
) -> tuple[float, list[dict[str, float]]]:
    """Return the expected calibration error and the bins behind it (Naeini et al. 2015).

    Ten bins of equal width, those without an image left out. The error is the mean distance
    between stated probability and share right, each bin counting by its images.

    Returns
    -------
    float, list of dict
        Of each bin ``probability`` (mean), ``right`` (share) and ``n`` (images).
    """
    place = np.minimum((probabilities * _BINS).astype(np.int64), _BINS - 1)
    error, rows = 0.0, []
    for number in np.unique(place):
        own = place == number
        share = weights[own] / weights[own].sum()
        stated, true = float(probabilities[own] @ share), float(right[own] @ share)
        error += float(weights[own].sum() / weights.sum()) * abs(stated - true)
        rows.append({"probability": stated, "right": true, "n": int(own.sum())})
    return error, rows


def _logistic(columns: Array, targets: Array, weights: Array) -> tuple[float, Array]:
    """Return bias and slopes of a logistic regression, by Newton's method."""
    mean, spread = columns.mean(axis=0), columns.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    x = np.column_stack([np.ones(len(columns)), (columns - mean) / spread])
    penalty = np.full(x.shape[1], _RIDGE * weights.sum())
    penalty[0] = 0
    beta = np.zeros(x.shape[1])

    def loss(b: Array) -> float:
        z = x @ b
        return float(weights @ (np.logaddexp(0, z) - targets * z) + 0.5 * penalty @ (b * b))

    now = loss(beta)
    for _ in range(_STEPS):
        p = 0.5 + 0.5 * np.tanh(0.5 * (x @ beta))
        gradient = x.T @ (weights * (p - targets)) + penalty * beta
        curvature = (x.T * (weights * p * (1 - p))) @ x + np.diag(penalty)
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        size = 1.0
        while size > 1e-6 and loss(beta - size * step) > now:
            size /= 2
        before, beta = now, beta - size * step
        now = loss(beta)
        if before - now <= 1e-12 * (1 + abs(now)):
            break
    slopes = beta[1:] / spread
    return float(beta[0] - slopes @ mean), slopes
