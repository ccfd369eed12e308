"""Ridge regression from features to the embeddings of a teacher."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Penalties to try, relative to the mean eigenvalue of the Gram matrix of the features.
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
_UNJUDGED = 1e-2  # if there are too few images to hold any out
_FOLDS = 5
_CHUNK = 1024  # rows converted to float64 at a time
Matrix = NDArray[np.float64]


class Ridge(NamedTuple):
    """A linear map and how it was fitted.

    Attributes
    ----------
    matrix : (features, dim) float32
    penalty : float
        One of `PENALTIES`.
    cosine : float or None
        Mean cosine similarity between prediction and target on held-out images; None if there
        were too few images to hold any out.
    """

    matrix: NDArray[np.float32]
    penalty: float
    cosine: float | None


def fit_ridge(features: NDArray[Any], targets: NDArray[Any]) -> Ridge:
    """Fit the matrix M for which ``features @ M`` is most similar to the targets.

    Parameters
    ----------
    features : (n, features) floats
    targets : (n, dim) floats
        Rows of length 1.

    Notes
    -----
    Minimises ``|features @ M - targets|^2 + penalty * |M|^2``. There is no intercept: pooled
    features are positive, and their mean direction is hardly affected by the penalty, so it serves
    as one. The penalty is chosen by the cosine similarity on every fifth image, which is held out.
    """
    held = np.arange(len(features)) % _FOLDS == 0
    if len(features) < 2 * _FOLDS:
        penalty, cosine = _UNJUDGED, None
    else:
        penalty, cosine = _chosen(features, targets, held)
    gram, cross, back = _products(features, targets)
    gram[np.diag_indices_from(gram)] += _absolute(penalty, gram, features.shape[1])
    matrix = np.linalg.solve(gram, cross)
    matrix = matrix if back is None else back.T @ matrix
    return Ridge(np.ascontiguousarray(matrix, np.float32), penalty, cosine)


def _chosen(
    features: NDArray[Any], targets: NDArray[Any], held: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the penalty with the highest mean cosine similarity on the held-out rows."""
    gram, cross, back = _products(features[~held], targets[~held])
    values, axes = np.linalg.eigh(gram)
    cross = axes.T @ cross
    inputs, wanted = features[held].astype(np.float64), targets[held]
    inputs = (inputs if back is None else inputs @ back.T) @ axes
    found = []
    for part in PENALTIES:
        scale = 1 / (np.maximum(values, 0) + _absolute(part, gram, features.shape[1]))
        guess = inputs @ (scale[:, None] * cross)
        lengths = np.maximum(np.linalg.norm(guess, axis=1), np.finfo(float).tiny)
        found.append(((guess * wanted).sum(axis=1) / lengths).mean())
    best = int(np.argmax(found))
    return PENALTIES[best], float(found[best])


def _absolute(penalty: float, gram: Matrix, features: int) -> float:
    return penalty * max(float(np.trace(gram)) / features, np.finfo(float).tiny)


def _products(
    features: NDArray[Any], targets: NDArray[Any]
) -> tuple[Matrix, Matrix, Matrix | None]:
    """Return gram and cross with map = back.T @ (gram + penalty)^-1 @ cross; `back` may be None.

    Uses the smaller of the two Gram matrices: that of the features or that of the images.
    """
    n, width = features.shape
    if n <= width:
        x = features.astype(np.float64)
        return x @ x.T, targets.astype(np.float64), x
    gram, cross = np.zeros((width, width)), np.zeros((width, targets.shape[1]))
    for start in range(0, n, _CHUNK):
        x = features[start : start + _CHUNK].astype(np.float64)
        gram += x.T @ x
        cross += x.T @ targets[start : start + _CHUNK].astype(np.float64)
    return gram, cross, None
