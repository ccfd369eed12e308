"""Choose the minimum score at which a species counts as known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdembed.base.checks import check_not_masked
from birdembed.base.text import error_text
from birdembed.base.vectors import unit_rows
from birdembed.species.calibration import best_and_margin

#: `identify` computes cosines in float32, so its score of a photo may be this much lower than the
#: score that the threshold was chosen from.
_ROUNDING = 1e-6


def open_set_auroc(known: ArrayLike, unknown: ArrayLike) -> float:
    """Measure how well a score separates known species from others: the area under the ROC curve.

    This is the share of (known, other) pairs in which the known one scores higher; ties count
    half (Mann and Whitney 1947).

    Parameters
    ----------
    known, unknown : array
        Scores, one per image.

    Returns
    -------
    float
        0 to 1; 0.5 is chance.

    Raises
    ------
    ValueError
        One of them is empty, or contains NaN or masked values.
    """
    high, low = np.sort(_scores(known, "known")), _scores(unknown, "unknown")
    if not len(high) or not len(low):
        raise ValueError(f"known and unknown must not be empty, got {len(high)} and {len(low)}")
    if np.isnan(high).any() or np.isnan(low).any():
        raise ValueError("known and unknown must not contain NaN")
    above = len(high) - np.searchsorted(high, low, side="right")
    equal = np.searchsorted(high, low, side="right") - np.searchsorted(high, low, side="left")
    return float((above + 0.5 * equal).sum() / (len(high) * len(low)))


def _scores(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return scores as an array."""
    check_not_masked(name, values)
    try:
        return np.asarray(values, np.float64).ravel()
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must hold numbers ({error_text(error)})") from error


def choose_threshold(
    known: NDArray[np.float64], unknown: NDArray[np.float64], accept: float | None
) -> tuple[float, str]:
    """Return a threshold and how it was chosen.

    Parameters
    ----------
    known, unknown : (n,) and (m,) float64
        Scores.
    accept : float or None
        Choose the largest threshold that accepts at least this share of `known`. None: choose the
        one with the best mean of the shares of known accepted and others refused.
    """
    ordered = np.sort(known)
    if accept is not None:
        # The tolerance keeps (1 - 0.95) * 20 from being rounded up to more than one.
        allowed = min(int(np.floor((1 - accept) * len(ordered) + 1e-9)), len(ordered) - 1)
        return float(ordered[allowed]) - _ROUNDING, f"{accept:.0%} of the known accepted"
    tried = np.unique(np.concatenate([known, unknown]))
    refused = np.searchsorted(np.sort(unknown), tried, side="left") / len(unknown)
    accepted = 1 - np.searchsorted(ordered, tried, side="left") / len(ordered)
    # Halfway to the next lower score, so that no score is equal to the threshold.
    best = int(np.argmax(refused + accepted))
    lower = tried[best - 1] if best else tried[best] - 2 * _ROUNDING
    return float((tried[best] + lower) / 2), "best mean of known accepted and others refused"


def held_out_scores(
    units: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Score each image as `identify` would without that image, or its species, in the gallery.

    To leave out an image, it is subtracted from the sum of its class: (sum - x) / |sum - x|. To
    hold out a species, its prototype is ignored.

    Returns
    -------
    known : (m,) float64
        Best score of each image without itself; images that are the only one of their species
        are left out.
    unknown : (n,) float64
        Best score of each image among the other species.
    right : (m,) bool
        Whether the best score of `known` belongs to the right species.
    """
    own, scores = _left_out(units, labels, n_classes)
    unknown = scores.max(axis=1)
    several = np.bincount(labels, minlength=n_classes)[labels] > 1
    known = np.maximum(own, unknown)[several]
    return known, unknown, (own > unknown)[several]


def held_out_margins(
    units: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int
) -> NDArray[np.float64]:
    """Return the margin over the second species for each `known` score of `held_out_scores`.

    There must be at least two species.
    """
    own, scores = _left_out(units, labels, n_classes)
    scores[np.arange(len(units)), labels] = own
    several = np.bincount(labels, minlength=n_classes)[labels] > 1
    return best_and_margin(scores[several])[1]


def _left_out(
    units: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the score of each row with its own species (without itself) and with the others.

    The second array is ``(n, classes)``, with -inf for the own species.
    """
    sums = np.zeros((n_classes, units.shape[1]))
    np.add.at(sums, labels, units)
    scores = units @ unit_rows(sums).T
    own = (units * unit_rows(sums[labels] - units)).sum(axis=1)
    scores[np.arange(len(units)), labels] = -np.inf
    return own, scores
