"""Ridge regression from features to a teacher's embeddings."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: What is tried, as parts of the mean eigenvalue of the features' products.
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
_UNJUDGED = 1e-2  # where there are too few images to hold any out
_FOLDS = 5
_CHUNK = 1024  # rows in float64 at a time
Matrix = NDArray[np.float64]


class Ridge(NamedTuple):
    """A linear map and how it was found.

    Attributes
    ----------
    matrix : (features, dim) float32
    penalty : float
        One of `PENALTIES`.
    cosine : float or None
        Mean cosine between map and target on images that it was not fitted on, None where too
        few images were there to hold any out.
    """

    matrix: NDArray[np.float32]
    penalty: float
    cosine: float | None


def fit_ridge(features: NDArray[Any], targets: NDArray[Any]) -> Ridge:
    """Return the matrix M that makes ``features @ M`` most like the targets.

    Parameters
    ----------
    features : (n, features) floats
    targets : (n, dim) floats
        Rows of length 1.

    Notes
    -----
    The least ``|features @ M - targets|^2 + penalty * |M|^2``. Without an intercept: pooled
    features are positive, and their mean direction, which no penalty reaches, serves as one. The
    penalty is chosen by the cosine on every fifth image.
    """
    held = np.arange(len(features)) % _FOLDS == 0
    if len(features) < 2 * _FOLDS:
        penalty, cosine = _UNJUDGED, None
    else:
        penalty, cosine = _chosen(features, targets, held)
    gram, cross = _products(features, targets, np.ones(len(features), bool))
    gram[np.diag_indices_from(gram)] += _absolute(penalty, gram)
    matrix = np.linalg.solve(gram, cross)
    return Ridge(np.ascontiguousarray(matrix, np.float32), penalty, cosine)


def _chosen(
    features: NDArray[Any], targets: NDArray[Any], held: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the penalty whose map has the highest mean cosine on the held-out rows."""
    gram, cross = _products(features, targets, ~held)
    values, axes = np.linalg.eigh(gram)
    cross = axes.T @ cross
    inputs, wanted = features[held] @ axes, targets[held]
    found = []
    for part in PENALTIES:
        scale = 1 / (np.maximum(values, 0) + _absolute(part, gram))
        guess = inputs @ (scale[:, None] * cross)
        lengths = np.maximum(np.linalg.norm(guess, axis=1), np.finfo(float).tiny)
        found.append(((guess * wanted).sum(axis=1) / lengths).mean())
    best = int(np.argmax(found))
    return PENALTIES[best], float(found[best])


def _absolute(penalty: float, gram: Matrix) -> float:
    mean = float(np.trace(gram)) / len(gram)
    return penalty * max(mean, np.finfo(float).tiny)


def _products(
    features: NDArray[Any], targets: NDArray[Any], rows: NDArray[np.bool_]
) -> tuple[Matrix, Matrix]:
    """Return the tables of products of the features with themselves and with the targets."""
    gram = np.zeros((features.shape[1],) * 2)
    cross = np.zeros((features.shape[1], targets.shape[1]))
    chosen = np.flatnonzero(rows)
    for start in range(0, len(chosen), _CHUNK):
        part = chosen[start : start + _CHUNK]
        x = features[part].astype(np.float64)
        gram += x.T @ x
        cross += x.T @ targets[part].astype(np.float64)
    return gram, cross
