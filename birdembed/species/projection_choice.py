"""Choose the shrinkage and the dimension of a projection by classes that the fit did not see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed.evaluation.evaluation import measure
from birdembed.species.directions import Directions, Matrix

#: What is tried where no shrinkage is given.
SHRINKAGES = (0.02, 0.1, 0.3, 0.7)
DIMS = (64, 128, 256, 512)
_UNJUDGED = 0.1  # shrinkage of "whiten" where nothing can judge it
_FOLDS = 5
#: Choosing among fits needs no more axes, and no more pictures of a class to search.
_JUDGED_DIMS = 512
_JUDGED_PICTURES = 40
_AS_GOOD = 0.99  # of the best merit


class Choice(NamedTuple):
    """A shrinkage and a dimension, what chose them, and the scores of all that was tried."""

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
    """Return the shrinkage and the dimension that are given, or those that do best.

    Parameters
    ----------
    rows : (n, r) float64
        Data in the coordinates of their principal axes.
    y : (n,) int64 or None
        Their classes, 0 to `n_classes` - 1.
    method, dim, shrinkage
        As `Model.fit_projection` takes them.
    features : int
        As `Directions` takes it.

    Raises
    ------
    ValueError
        "lda" is to choose its shrinkage, and the data are too few to judge by.
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
            f"{len(rows)} pictures of {n_classes} classes are too few to choose shrinkage: that "
            "needs a class of three pictures, or five classes, two of which have two; give more "
            "pictures, or shrinkage="
        )
    return Choice(_UNJUDGED if len(values) > 1 else values[0], dims[-1], "given", [])


def _best(judged_by: str, tried: list[dict[str, float]]) -> Choice:
    """Return the best of what was tried."""
    best = max(tried, key=_merit)
    # The least of those that are as good: known species gain by less shrinkage, and what
    # judges here are unseen ones.
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
    """Return what is held out, and for each fold which rows."""
    single = np.bincount(y, minlength=n_classes) < 2
    # Of two classes with two pictures each, one judges what was fitted on the other.
    if n_classes >= _FOLDS and (~single).sum() >= 2:
        turn = np.empty(n_classes, np.int64)
        turn[np.argsort(single, kind="stable")] = np.arange(n_classes)
        return "held-out classes", [turn[y] % _FOLDS == fold for fold in range(_FOLDS)]
    # Every fifth picture of each class.
    place = np.empty(len(y), np.int64)
    for label in range(n_classes):
        mine = np.flatnonzero(y == label)
        place[mine] = np.arange(len(mine))
    return "held-out pictures", [place % _FOLDS == fold for fold in range(_FOLDS)]


def _first_of_each(y: NDArray[np.int64], n_classes: int, most: int) -> NDArray[np.int64]:
    """Return the rows of at most so many pictures of each class, in order."""
    rows = [np.flatnonzero(y == label) for label in range(n_classes)]
    # Spread over the class: neighbours in a folder are often alike.
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
    """Return what judges, and the scores of every shrinkage and dimension.

    A fit is judged on what it did not see. Held-out pictures are looked up among all others, those
    of their own class included: leave one out. The mean over the folds counts a picture once. There
    are no rows where nothing can judge: too few pictures are left to fit on, or none held out has
    another of its class.
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
