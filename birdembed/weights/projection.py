"""Projections of embeddings, and reading and writing them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from birdembed._core import WeightsError
from birdembed.base.checks import check_choice, check_not_masked
from birdembed.base.public import public
from birdembed.base.text import error_text, some
from birdembed.weights.safetensors_file import read_metadata, read_safetensors, write_safetensors

POOLINGS = ("avg", "gem")
#: Generalised-mean pooling, (mean of max(x, eps)^p)^(1/p), as in SSCD.
GEM_P = 3.0
GEM_EPS = 1e-6


@public
@dataclass(frozen=True, eq=False)
class Projection:
    """A projection of pooled features, ``(pooled - mean) @ matrix``.

    Parameters
    ----------
    pooling : "avg" or "gem"
        Pooling of the features. ``gem``: p = 3, eps = 1e-6.
    mean : numpy.ndarray
        ``(features,) float32``, subtracted from the features.
    matrix : numpy.ndarray
        ``(features, dim) float32``.
    """

    pooling: str
    mean: np.ndarray
    matrix: np.ndarray

    def __post_init__(self) -> None:
        """Check that the parts match, and make the arrays read-only.

        Raises
        ------
        ValueError
            The pooling is unknown, or an array has a wrong shape, is not finite or has masked
            values.
        """
        check_choice("pooling", self.pooling, POOLINGS)
        check_not_masked("mean", self.mean)
        check_not_masked("matrix", self.matrix)
        mean = np.require(self.mean, dtype=np.float32, requirements=["C", "A"])
        matrix = np.require(self.matrix, dtype=np.float32, requirements=["C", "A"])
        if mean.ndim != 1 or matrix.ndim != 2 or matrix.shape[0] != mean.shape[0]:
            raise ValueError(
                "expected mean of shape (features,) and matrix of shape (features, dim), "
                f"got {mean.shape} and {matrix.shape}"
            )
        if not matrix.size:
            raise ValueError(f"matrix must not be empty, got {matrix.shape}")
        if not (np.isfinite(mean).all() and np.isfinite(matrix).all()):
            raise ValueError("mean and matrix must be finite")
        for name, array in (("mean", mean), ("matrix", matrix)):
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    @cached_property
    def rows(self) -> np.ndarray:
        """The transposed matrix ``(dim, features) float32``, C-contiguous, for the core."""
        return np.ascontiguousarray(self.matrix.T)

    @property
    def dim(self) -> int:
        """Dimension of a projected embedding."""
        return int(self.matrix.shape[1])


def write_projection(path: str | os.PathLike[str], projection: Projection) -> None:
    """Write a projection to a safetensors file, atomically."""
    write_safetensors(
        path,
        {"mean": projection.mean, "matrix": projection.matrix},
        {"pooling": projection.pooling},
    )


def read_projection(path: str | os.PathLike[str]) -> Projection:
    """Read a projection written by `write_projection`.

    Raises
    ------
    WeightsError
        The file is missing, damaged, or not a projection.
    """
    if not os.path.isfile(path):
        raise WeightsError(f"{os.fspath(path)}: no such file, but config.json refers to it")
    tensors = read_safetensors(path)
    if set(tensors) != {"mean", "matrix"}:
        raise WeightsError(
            f"{os.fspath(path)}: expected the tensors mean and matrix, got {some(sorted(tensors))}"
        )
    try:
        return Projection(
            read_metadata(path).get("pooling", "avg"),
            # Copied: the file is mapped, and another program may overwrite it.
            tensors["mean"].float32("mean").copy(),
            tensors["matrix"].float32("matrix").copy(),
        )
    except ValueError as error:
        raise WeightsError(f"{os.fspath(path)}: {error_text(error)}") from error
