"""Fit a projection of embeddings.

Everything is float64 NumPy. Covariances are drawn towards a multiple of the identity,
S_a = (1 - a) S + a tr(S) / d I (Ledoit and Wolf's target), because 2048 x 2048 numbers are too
many for a few thousand pictures; what a does best is asked of classes that the fit did not see.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import check_choice, check_integer, check_number
from birdembed.evaluation.evaluation import measure
from birdembed.weights.projection import Projection

METHODS = ("center", "whiten", "lda")
#: What is tried where no shrinkage is given.
SHRINKAGES = (0.02, 0.1, 0.3, 0.7)
DIMS = (64, 128, 256, 512)
_UNJUDGED = 0.1  # shrinkage of "whiten" where nothing can judge it
_FOLDS = 5
#: Leading principal axes that a fit looks at, unless `dim` asks for more. Of 2048 they hold 0.98 of
#: the variance, and the eigenproblems behind them take an eighth of the time.
_AXES = 1024
#: Choosing among fits needs no more axes, and no more pictures of a class to search.
_JUDGED_DIMS = 512
_JUDGED_PICTURES = 40
#: Directions are weighted by (total / within-class variance)^this. Measured on 40 of 51 species: 0
#: puts known species right less often (0.78 against 0.86) and unseen ones no more often; above 0.25
#: the first gains a little and telling unknown from known loses.
_WEIGHT = 0.25
_AS_GOOD = 0.99  # of the best merit
_FINE = 1e-10  # an eigenvalue below this share of the largest is rounding
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class ProjectionFit:
    """How a projection was fitted.

    Attributes
    ----------
    method : str
        "center", "whiten" or "lda".
    dim : int
        Length of the embeddings.
    shrinkage : float or None
        None for "center", which has none.
    n, n_classes : int
        Pictures and classes behind it; 0 classes where there were no labels.
    judged_by : str
        What chose shrinkage and dimension: "held-out classes", "held-out pictures" (too few
        classes to hold any out) or "given" (by the caller, or by default where nothing can judge).
    tried : list of dict
        ``shrinkage, dim, map_at_r, precision_at_1`` of each value that was tried.
    failures : list of (int, str, str)
        Position, name and reason of pictures that could not be read.
    """

    __module__ = "birdembed"

    method: str
    dim: int
    shrinkage: float | None
    n: int
    n_classes: int
    judged_by: str = "given"
    tried: list[dict[str, float]] = field(default_factory=list)
    failures: list[tuple[int, str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values, without the failures."""
        return {k: v for k, v in vars(self).items() if k != "failures"}


def check_options(method: str, dim: int | None, shrinkage: float | None) -> None:
    """Raise `TypeError` or `ValueError` where an option of `fit_projection` is out of range."""
    check_choice("method", method, METHODS)
    if dim is not None:
        check_integer("dim", dim, 1)
    if shrinkage is not None:
        check_number("shrinkage", shrinkage, 0, 1, False)
        if method == "center":
            raise ValueError("shrinkage goes with 'whiten' and 'lda'; method='center' has none")


def fit_projection(
    model: Any,
    data: Any,
    labels: Sequence[Any] | None,
    method: str,
    dim: int | None,
    *,
    pooling: str,
    shrinkage: float | None,
    show_progress_bar: bool | None,
) -> tuple[Projection, ProjectionFit]:
    """Fit a projection for a model, which stays as it is; see `Model.fit_projection`.

    `pooling` is what the model's raw embeddings come from.
    """
    from birdembed.weights.state_dict import FEATURES

    check_options(method, dim, shrinkage)
    vectors, tags, failures = _raw(model, data, labels, method, show_progress_bar)
    if vectors.shape[1] != FEATURES:
        raise ValueError(
            f"data have {vectors.shape[1]} dimensions, expected the {FEATURES} of raw "
            "embeddings: encode(images, projection=False)"
        )
    mean, matrix, fit = fit_matrix(vectors, tags, method, dim, shrinkage)
    projection = Projection(pooling, mean.astype("f4"), matrix.astype("f4"))
    return projection, replace(fit, failures=failures)


def _raw(
    model: Any,
    data: Any,
    labels: Sequence[Any] | None,
    method: str,
    show_progress_bar: bool | None,
) -> tuple[NDArray[np.float32], list[str] | None, list[tuple[int, str, str]]]:
    """Return raw embeddings, labels where there are any, failures."""
    from birdembed.base.vectors import as_vectors
    from birdembed.data.folder import ImageFolder
    from birdembed.search.index import Index
    from birdembed.species.labelled import labelled_vectors

    if isinstance(data, Index):  # its embeddings may be projected ones
        raise TypeError(
            "data must be an ImageFolder or raw embeddings, got an Index: of a model without a "
            "projection, pass index.embeddings and labels=index.labels"
        )
    if not isinstance(data, ImageFolder):
        if not isinstance(data, (list, tuple)) and not hasattr(data, "__array__"):
            raise TypeError(
                "data must be an ImageFolder or an array of raw embeddings, got "
                f"{type(data).__name__}"
            )
        if labels is None and method == "lda":
            raise TypeError("method='lda' needs labels= with embeddings: one class a row")
        if labels is None:
            array, _ = as_vectors(data, "data", one=False)
            vectors, _, failures = labelled_vectors(model, array, [0] * len(array))
            return vectors, None, failures
    return labelled_vectors(model, data, labels, show_progress_bar, projection=False)


def fit_matrix(
    vectors: NDArray[Any],
    tags: Sequence[Any] | None,
    method: str,
    dim: int | None = 256,
    shrinkage: float | None = None,
) -> tuple[Matrix, Matrix, ProjectionFit]:
    """Return mean ``(d,)``, matrix ``(d, dim)`` and how they were found.

    Parameters
    ----------
    vectors : (n, d) floats
    tags : n labels, or None
    method, dim, shrinkage
        As `Model.fit_projection` takes them.
    """
    x = np.asarray(vectors, np.float64)
    names = sorted(set(tags)) if tags is not None else []
    number = {name: i for i, name in enumerate(names)}
    y = None if tags is None else np.asarray([number[tag] for tag in tags], np.int64)
    if len(x) < 2:
        raise ValueError(f"data have {len(x)} pictures, at least 2 are needed")
    if method == "lda" and (y is None or len(names) < 2 or len(x) <= len(names)):
        raise ValueError(
            "method='lda' needs two classes or more, and more pictures than classes; got "
            f"{len(x)} pictures of {len(names)} classes"
        )
    span = _Span(x, max(_AXES, dim or 0))
    found = Directions(span.rows, y, method, x.shape[1])
    if found.flat:
        raise ValueError(
            "method='lda' needs a class whose pictures differ: in data, all pictures of a class "
            "have the same embedding"
        )
    limit = min(dim or max(DIMS), span.rank)
    judged_by, tried = "given", list[dict[str, float]]()
    dims = [limit] if dim is not None else sorted({min(d, limit) for d in DIMS})
    values = [shrinkage] if shrinkage is not None or method == "center" else list(SHRINKAGES)
    chosen, kept = values[0], dims[-1]
    if y is not None and len(values) * len(dims) > 1:
        judge, tried = _try(span.rows, y, len(names), method, dims, values, x.shape[1])
        if tried:
            judged_by = judge
    if tried:
        best = max(tried, key=_merit)
        kept = int(best["dim"])
        # The least of those that are as good: known species gain by less shrinkage, and what
        # judges here are unseen ones.
        chosen = min(
            row["shrinkage"]
            for row in tried
            if row["dim"] == kept and _merit(row) >= _AS_GOOD * _merit(best)
        )
    elif len(values) > 1 and method == "lda":
        raise ValueError(
            f"{len(x)} pictures of {len(names)} classes are too few to choose shrinkage: that "
            "needs a class of three pictures, or five classes, two of which have two; give more "
            "pictures, or shrinkage="
        )
    elif len(values) > 1:
        chosen = _UNJUDGED
    matrix = span.basis @ found.matrix(kept, chosen or 0.0)
    fit = ProjectionFit(
        method,
        matrix.shape[1],
        None if method == "center" else chosen,
        len(x),
        len(names),
        judged_by,
        tried,
    )
    return span.mean, matrix, fit


class _Span:
    """Data in the coordinates of their own principal axes, all that differ from rounding."""

    def __init__(self, x: Matrix, axes: int) -> None:
        self.mean = x.mean(axis=0)
        centred = x - self.mean
        if len(x) <= x.shape[1]:  # the smaller of the two tables of products
            values, vectors = _eigh(centred @ centred.T)
            keep = _kept(values)
            self.basis = centred.T @ (vectors[:, keep] / np.sqrt(values[keep]))
        else:
            values, vectors = _eigh(centred.T @ centred)
            keep = _kept(values)
            self.basis = vectors[:, keep]
        self.basis = self.basis[:, :axes]
        self.rank = self.basis.shape[1]
        if not self.rank:
            raise ValueError("all pictures of data have the same embedding: nothing to fit")
        self.rows = centred @ self.basis


def _kept(values: Matrix) -> NDArray[np.bool_]:
    """Return which eigenvalues, largest first, are more than rounding."""
    return np.asarray(values > _FINE * max(values[0], np.finfo(float).tiny))


def _eigh(symmetric: Matrix) -> tuple[Matrix, Matrix]:
    """Return eigenvalues, largest first, and their vectors as columns."""
    values, vectors = np.linalg.eigh(symmetric)
    return values[::-1], vectors[:, ::-1]


class Directions:
    """The part of a fit that does not depend on shrinkage and dimension.

    Parameters
    ----------
    x : (n, r) float64
        Centred or not; coordinates in a space of `features` dimensions, outside of which the data
        do not vary.
    y : (n,) int64 or None
    method : str
    features : int
        What the trace is shared out over: d of S_a.
    """

    def __init__(self, x: Matrix, y: NDArray[np.int64] | None, method: str, features: int) -> None:
        self.method = method
        self.mean = x.mean(axis=0)
        centred = x - self.mean
        total = centred.T @ centred / len(x)
        self.target = 0.0
        if method == "lda":
            assert y is not None
            _, y = np.unique(y, return_inverse=True)
            counts = np.bincount(y)
            starts = np.cumsum(counts) - counts
            means = np.add.reduceat(centred[np.argsort(y, kind="stable")], starts) / counts[:, None]
            within = total - (means.T * (counts / len(x))) @ means
            self.values, self.axes = _eigh((within + within.T) / 2)
            self.total = self.axes.T @ total @ self.axes
        else:
            self.values, self.axes = _eigh(total)
        self.values = np.maximum(self.values, 0)
        #: Nothing to scale by: for "lda" no picture differs from others of its class.
        self.flat = not self.values.sum() > _FINE * np.trace(total)
        self.target = float(self.values.sum()) / features

    def matrix(self, dim: int, shrinkage: float) -> Matrix:
        """Return ``(r, dim)``, the best directions first."""
        if self.method == "center":
            return self.axes[:, :dim]
        variance = (1 - shrinkage) * self.values + shrinkage * self.target
        # Without shrinkage an axis along which no class varies would count infinitely.
        floor = _FINE * max(float(variance.max()), np.finfo(float).tiny)
        scale = 1 / np.sqrt(np.maximum(variance, floor))
        if self.method == "whiten":
            return self.axes[:, :dim] * scale[:dim]
        # In these axes S_a is the identity: what is left is the eigenproblem of the total.
        ratios, vectors = _eigh(scale[:, None] * self.total * scale)
        weights = np.maximum(ratios[:dim], 0) ** _WEIGHT
        return self.axes @ (scale[:, None] * vectors[:, :dim]) * weights


def _merit(row: dict[str, float]) -> float:
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


def _try(
    rows: Matrix,
    y: NDArray[np.int64],
    n_classes: int,
    method: str,
    dims: list[int],
    values: Sequence[float | None],
    features: int,
) -> tuple[str, list[dict[str, float]]]:
    """Judge every shrinkage and dimension on what the fit did not see.

    Held-out pictures are looked up among all others, those of their own class included: leave one
    out. The mean over the folds counts a picture once. There are no rows where nothing can judge:
    too few pictures are left to fit on, or none held out has another of its class.
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
