"""Rows scaled to length 1, and the gradient before the scaling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def unit_and_lengths(rows: NDArray[Any]) -> tuple[Matrix, Matrix]:
    """Return the rows scaled to length 1 and the lengths ``(n, 1)``, in float64.

    A row of zeros stays zero. NaN stays NaN, so that a training notices weights that are not
    finite.
    """
    wide = np.asarray(rows, np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths != 0), lengths


def slope_before_scaling(d_unit: Matrix, unit: Matrix, lengths: Matrix) -> Matrix:
    """Convert the gradient of the scaled rows to the gradient of the rows before scaling."""
    along = (d_unit * unit).sum(axis=1, keepdims=True) * unit
    # A row of zeros has no direction and therefore no gradient.
    return np.divide(d_unit - along, lengths, out=np.zeros_like(unit), where=lengths != 0)
