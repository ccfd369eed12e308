"""One minus the cosine similarity of vectors and their targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
    wide, wanted = vectors[known].astype(np.float64), targets[known].astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    # A row of zeros has no direction and therefore no gradient; NaN stays NaN, for `Diverged`.
    unit = np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths != 0)
    cosines = (unit * wanted).sum(axis=1, keepdims=True)
    slope = np.divide(cosines * unit - wanted, lengths, out=np.zeros_like(unit), where=lengths != 0)
    d_vectors[known] = weight * slope / len(wide)
    return weight * float(1 - cosines.mean()), d_vectors
