"""One minus the cosine similarity of vectors and their targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.training.scaled_rows import slope_before_scaling, unit_and_lengths


def cosine_loss(
    vectors: NDArray[Any], targets: NDArray[Any], weight: float = 1.0
) -> tuple[float, NDArray[Any]]:
    """Return 1 minus the mean cosine similarity of vectors and targets, and its gradient.

    Parameters
    ----------
    vectors : (n, dim) floats
    targets : (n, dim) floats
        Rows of length 1; rows of NaN are ignored.
    weight : float
        Factor of the loss and the gradient.

    Returns
    -------
    loss : float
        0 if all rows are ignored.
    d_vectors : (n, dim)
        Gradient, with the dtype of `vectors`. Computed in float64.
    """
    known = ~np.isnan(targets[:, 0])
    d_vectors = np.zeros_like(vectors)
    if not known.any():
        return 0.0, d_vectors
    unit, lengths = unit_and_lengths(vectors[known])
    wanted = targets[known].astype(np.float64)
    d_vectors[known] = weight * slope_before_scaling(-wanted, unit, lengths) / len(unit)
    return weight * float(1 - (unit * wanted).sum(axis=1).mean()), d_vectors
