"""Fit a projection of embeddings, in closed form."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import check_choice, check_integer, check_number
from birdembed.base.public import public
from birdembed.species.directions import Directions, Matrix, Span
from birdembed.species.projection_choice import choose
from birdembed.weights.projection import Projection

METHODS = ("center", "whiten", "lda")
#: Number of leading principal axes used in a fit, unless `dim` is larger. They contain 0.98 of the
#: variance of all 2048, and the eigenproblems take an eighth of the time.
_AXES = 1024


@public
@dataclass(frozen=True)
class ProjectionFit:
    """Result of `fit_projection`.

    Attributes
    ----------
    method : str
        "center", "whiten" or "lda".
    dim : int
        Dimension of the projected embeddings.
    shrinkage : float or None
        None for "center", which has no shrinkage.
    n, n_classes : int
        Number of images and classes used; 0 classes without labels.
    judged_by : str
        How shrinkage and dimension were chosen: on "held-out classes", on "held-out pictures"
        (if there are too few classes), or "given" (by the caller, or the default if there are too
        few data to choose).
    tried : list of dict
        ``shrinkage, dim, map_at_r, precision_at_1`` for each value that was tried.
    failures : list of (int, str, str)
        Position, name and reason for each image that could not be read.
    """

    method: str
    dim: int
    shrinkage: float | None
    n: int
    n_classes: int
    judged_by: str = "given"
    tried: list[dict[str, float]] = field(default_factory=list)
    failures: list[tuple[int, str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values, without `failures`."""
        return {k: v for k, v in vars(self).items() if k != "failures"}


def check_options(method: str, dim: int | None, shrinkage: float | None) -> None:
    """Raise a TypeError or ValueError if an option of `fit_projection` is invalid."""
    check_choice("method", method, METHODS)
    if dim is not None:
        check_integer("dim", dim, 1)
    if shrinkage is not None:
        check_number("shrinkage", shrinkage, 0, 1, False)
        if method == "center":
            raise ValueError("shrinkage is only used with method='whiten' and 'lda', not 'center'")


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
    """Fit a projection for a model without changing the model; see `Model.fit_projection`.

    `pooling` is the pooling of the model's raw embeddings.
    """
    from birdembed.weights.state_dict import FEATURES

    check_options(method, dim, shrinkage)
    vectors, tags, failures = _raw(model, data, labels, method, show_progress_bar)
    if vectors.shape[1] != FEATURES[model.architecture]:
        raise ValueError(
            f"data has {vectors.shape[1]} dimensions, expected the "
            f"{FEATURES[model.architecture]} of raw "
            "embeddings; use encode(images, projection=False)"
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
    """Return raw embeddings, their labels or None, and the failures."""
    from birdembed.base.vectors import as_vectors
    from birdembed.data.folder import ImageFolder
    from birdembed.search.index import Index
    from birdembed.species.labelled import labelled_vectors

    if isinstance(data, Index):  # its embeddings may already be projected
        raise TypeError(
            "data must be an ImageFolder or raw embeddings, got an Index; if its model has no "
            "projection, pass index.embeddings and labels=index.labels"
        )
    if not isinstance(data, (str, os.PathLike, ImageFolder)):
        if not isinstance(data, (list, tuple)) and not hasattr(data, "__array__"):
            raise TypeError(
                "data must be an ImageFolder, a folder or an array of raw embeddings, got "
                f"{type(data).__name__}"
            )
        if labels is None and method == "lda":
            raise TypeError("method='lda' needs labels= with embeddings, one class per row")
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
    """Return the mean ``(d,)``, the matrix ``(d, dim)`` and how they were chosen.

    Parameters
    ----------
    vectors : (n, d) floats
    tags : n labels, or None
    method, dim, shrinkage
        See `Model.fit_projection`.
    """
    x = np.asarray(vectors, np.float64)
    names = sorted(set(tags)) if tags is not None else []
    number = {name: i for i, name in enumerate(names)}
    y = None if tags is None else np.asarray([number[tag] for tag in tags], np.int64)
    _check_enough(x, names, method)
    span = Span(x, max(_AXES, dim or 0))
    found = Directions(span.rows, y, method, x.shape[1])
    if found.flat:
        raise ValueError(
            "method='lda' needs a class with different images, but in data all images of each "
            "class have the same embedding"
        )
    chosen = choose(span.rows, y, len(names), method, dim, shrinkage, x.shape[1])
    matrix = span.basis @ found.matrix(chosen.dim, chosen.shrinkage or 0.0)
    fit = ProjectionFit(
        method,
        matrix.shape[1],
        None if method == "center" else chosen.shrinkage,
        len(x),
        len(names),
        chosen.judged_by,
        chosen.tried,
    )
    return span.mean, matrix, fit


def _check_enough(x: Matrix, names: list[Any], method: str) -> None:
    """Raise a ValueError if there are too few images or classes for a fit."""
    if len(x) < 2:
        raise ValueError(f"data has {len(x)} images, at least 2 are needed")
    if method == "lda" and (len(names) < 2 or len(x) <= len(names)):
        raise ValueError(
            "method='lda' needs at least two classes, and more images than classes; got "
            f"{len(x)} images of {len(names)} classes"
        )
