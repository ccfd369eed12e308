"""Similarities between the images of a batch, as a softmax over the other images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.training.scaled_rows import Matrix, slope_before_scaling, unit_and_lengths


def softmax_of_others(z: Matrix, temperature: float) -> tuple[Matrix, Matrix]:
    """Return the softmax of the products of each row with the others, and its logarithm.

    For a row with itself the softmax is 0 and the logarithm is undefined.
    """
    logits = z @ z.T / temperature
    np.fill_diagonal(logits, -np.inf)
    top = logits.max(axis=1, keepdims=True)
    odds = np.exp(logits - top)
    total = odds.sum(axis=1, keepdims=True)
    np.fill_diagonal(logits, 0.0)
    return odds / total, logits - top - np.log(total)


def slope_of_features(d_logits: Matrix, z: Matrix, lengths: Matrix, temperature: float) -> Matrix:
    """Convert the gradient of ``z @ z.T / T`` to the gradient of the rows before scaling."""
    return slope_before_scaling((d_logits + d_logits.T) @ z / temperature, z, lengths)


def relation_loss(
    features: NDArray[Any], targets: NDArray[Any], temperature: float
) -> tuple[float, NDArray[Any]]:
    """Return the distance of similarities between features and targets, and its gradient.

    Parameters
    ----------
    features : (n, features) floats
    targets : (n, dim) floats
        Rows of length 1; rows of NaN are ignored.
    temperature : float

    Returns
    -------
    loss : float
        Mean over the images of the Kullback-Leibler divergence between the softmax of the cosine
        similarities to the other images, for targets and features; 0 for fewer than three images.
    d_features : (n, features)
        Gradient, with the dtype of `features`. Computed in float64.
    """
    known = np.flatnonzero(~np.isnan(targets[:, 0]))
    d_features = np.zeros_like(features)
    if len(known) < 3:
        return 0.0, d_features
    z, lengths = unit_and_lengths(np.asarray(features, np.float64)[known])
    wanted, log_wanted = softmax_of_others(np.asarray(targets, np.float64)[known], temperature)
    found, log_found = softmax_of_others(z, temperature)
    loss = (wanted * (log_wanted - log_found)).sum(axis=1).mean()
    slope = slope_of_features((found - wanted) / len(known), z, lengths, temperature)
    d_features[known] = slope.astype(features.dtype)
    return float(loss), d_features
