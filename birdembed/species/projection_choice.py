"""Choose the shrinkage and the dimension of a projection on held-out classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed.evaluation.evaluation import measure
from birdembed.species.directions import Directions, Matrix

#: Values to try if no shrinkage is given.
SHRINKAGES = (0.02, 0.1, 0.3, 0.7)
DIMS = (64, 128, 256, 512)
_UNJUDGED = 0.1  # shrinkage of "whiten" if there are no data to choose it
_FOLDS = 5
#: Maximum number of axes, and of images per class, used to choose among fits.
_JUDGED_DIMS = 512
_JUDGED_PICTURES = 40
_AS_GOOD = 0.99  # of the best merit


class Choice(NamedTuple):
    """A shrinkage and a dimension, how they were chosen, and the scores of all tried values."""

    shrinkage: float | None
    dim: int
    judged_by: str
    tried: list[dict[str, float]]


def choose(
    rows: Matrix,
    y: NDArray[np.int64] | None,
    n_classes: int,
    method: str,
    dim: int | None,
    shrinkage: float | None,
    features: int,
) -> Choice:
    """Return the given shrinkage and dimension, or the best ones.

    Parameters
    ----------
    rows : (n, r) float64
        Data in the coordinates of the principal axes.
    y : (n,) int64 or None
        Their classes, 0 to `n_classes` - 1.
    method, dim, shrinkage
        See `Model.fit_projection`.
    features : int
        See `Directions`.

    Raises
    ------
    ValueError
        `method` is "lda", no shrinkage is given, and there are too few data to choose it.
    """
    limit = min(dim or max(DIMS), rows.shape[1])
    dims = [limit] if dim is not None else sorted({min(d, limit) for d in DIMS})
    values = [shrinkage] if shrinkage is not None or method == "center" else list(SHRINKAGES)
    if y is not None and len(values) * len(dims) > 1:
        judged_by, tried = _tried(rows, y, n_classes, method, dims, values, features)
        if tried:
            return _best(judged_by, tried)
    if len(values) > 1 and method == "lda":
        raise ValueError(
            f"{len(rows)} images of {n_classes} classes are too few to choose the shrinkage (one "
            "class with three images is enough, or five classes, two of them with two images); "
            "add images, or pass shrinkage="
        )
    return Choice(_UNJUDGED if len(values) > 1 else values[0], dims[-1], "given", [])


def _best(judged_by: str, tried: list[dict[str, float]]) -> Choice:
    """Return the best of the tried values."""
    best = max(tried, key=_merit)
    # Of equally good values, take the smallest shrinkage: it is better for known species, and
    # the scores here are those of unseen ones.
    shrinkage = min(
        row["shrinkage"]
        for row in tried
        if row["dim"] == best["dim"] and _merit(row) >= _AS_GOOD * _merit(best)
    )
    return Choice(shrinkage, int(best["dim"]), judged_by, tried)


def _merit(row: dict[str, float]) -> float:
    """Return the mean of the two scores of a fit."""
    return (row["map_at_r"] + row["precision_at_1"]) / 2


def _folds(y: NDArray[np.int64], n_classes: int) -> tuple[str, Iterable[NDArray[np.bool_]]]:
    """Return what is held out, and a mask of the held-out rows for each fold."""
    single = np.bincount(y, minlength=n_classes) < 2
    # With two classes of two images, each class is scored by a fit on the other.
    if n_classes >= _FOLDS and (~single).sum() >= 2:
        turn = np.empty(n_classes, np.int64)
        turn[np.argsort(single, kind="stable")] = np.arange(n_classes)
        return "held-out classes", [turn[y] % _FOLDS == fold for fold in range(_FOLDS)]
    # Every fifth image of each class.
    place = np.empty(len(y), np.int64)
    for label in range(n_classes):
        mine = np.flatnonzero(y == label)
        place[mine] = np.arange(len(mine))
    return "held-out pictures", [place % _FOLDS == fold for fold in range(_FOLDS)]


def _first_of_each(y: NDArray[np.int64], n_classes: int, most: int) -> NDArray[np.int64]:
    """Return the rows of at most `most` images of each class, in order."""
    rows = [np.flatnonzero(y == label) for label in range(n_classes)]
    # Spread over the class, because neighbours in a folder are often similar.
    picked = [
        mine[np.linspace(0, len(mine) - 1, min(len(mine), most)).astype(int)] for mine in rows
    ]
    return np.sort(np.concatenate(picked))


def _tried(
    rows: Matrix,
    y: NDArray[np.int64],
    n_classes: int,
    method: str,
    dims: list[int],
    values: Sequence[float | None],
    features: int,
) -> tuple[str, list[dict[str, float]]]:
    """Return what was held out, and the scores of every shrinkage and dimension.

    Each fit is scored on data it has not seen. Held-out images are searched among all others,
    including their own class (leave one out). Each image counts once in the mean over the folds.
    The list is empty if nothing can be scored: too few images are left to fit on, or no held-out
    image has another one of its class.
    """
    rows = rows[:, :_JUDGED_DIMS]
    judged_by, folds = _folds(y, n_classes)
    searched = _first_of_each(y, n_classes, _JUDGED_PICTURES)
    tags = y[searched].tolist()
    sums: dict[tuple[float, int], Matrix] = {}
    for held in folds:
        if not held.any() or len(set(y[~held].tolist())) < 2 - (method != "lda"):
            continue
        found = Directions(rows[~held], y[~held], method, features)
        own = np.flatnonzero(held[searched])
        if found.flat or not len(own):
            continue
        corpus = rows[searched] - found.mean
        for value in values:
            whole = corpus @ found.matrix(max(dims), value or 0.0)
            for dim in dims:
                part = np.ascontiguousarray(whole[:, :dim], np.float32)
                seen = measure(part[own], [tags[i] for i in own], part, tags, own)
                judged = seen.n - seen.lone
                line = [judged * (seen.map_at_r or 0), judged * (seen.precision_at_1 or 0), judged]
                sums[value or 0.0, dim] = sums.get((value or 0.0, dim), 0) + np.asarray(line)
    return judged_by, [
        {
            "shrinkage": value,
            "dim": dim,
            "map_at_r": float(total[0] / total[2]),
            "precision_at_1": float(total[1] / total[2]),
        }
        for (value, dim), total in sums.items()
        if total[2]
    ]
