"""Convert scores to the probability that the nearest species is right.

The calibration is a logistic regression on the best score and its margin over the second species
(Platt 1999, with two scores instead of one). It has only three parameters, so a few hundred
images are enough to fit it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Minimum number of held-out images to fit a calibration.
LEAST = 50
_FOLDS = 5
_BINS = 10
_RIDGE = 1e-4  # keeps the slopes finite if a score separates right from wrong perfectly
_STEPS = 100


@dataclass(frozen=True)
class Calibration:
    """The parameters of the probability ``1 / (1 + exp(-(bias + score * s + margin * m)))``.

    s is the best score and m its margin over the second species.
    """

    bias: float
    score: float
    margin: float

    @classmethod
    def from_values(cls, values: Mapping[str, Any] | None) -> Calibration | None:
        """Return the calibration with the values of `to_dict`; None gives None."""
        return None if values is None else cls(**values)

    def to_dict(self) -> dict[str, float]:
        """Return the parameters as plain values."""
        return asdict(self)

    def probability(self, scores: Any, margins: Any) -> Array:
        """Return the probability for each best score and its margin."""
        logits = self.bias + self.score * np.asarray(scores) + self.margin * np.asarray(margins)
        return np.asarray(0.5 + 0.5 * np.tanh(0.5 * logits), np.float64)  # no overflow


def best_and_margin(scores: Array) -> tuple[Array, Array]:
    """Return the best score of each row and its margin over the second (at least 2 columns)."""
    top = np.partition(scores, scores.shape[1] - 2, axis=1)[:, -2:]
    return top[:, 1], top[:, 1] - top[:, 0]


def fit_calibration(
    scores: Array, margins: Array, right: NDArray[np.bool_], weights: Array
) -> Calibration:
    """Fit the probability that the nearest species is right.

    Slopes are never negative: a higher score or a larger margin never makes an answer less
    likely. A slope that would be negative is set to 0, and the others are fitted without it.

    Parameters
    ----------
    scores, margins : (n,) float64
        The best score of each held-out image and its margin over the second species.
    right : (n,) bool
        Whether the species with the best score is the right one.
    weights : (n,) float64
        Weight of each image.
    """
    # Platt's targets are slightly below 1 and above 0, so that no answer is certain.
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
    """Return the cross-validated probability of each image (5 folds)."""
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
    """Return the expected calibration error and its bins (Naeini et al. 2015).

    There are ten bins of equal width; empty bins are left out. The error is the mean difference
    between the predicted probability and the share of right answers, weighted by the number of
    images per bin.

    Returns
    -------
    float, list of dict
        For each bin ``probability`` (mean), ``right`` (share) and ``n`` (images).
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
