"""Losses that are added to the cross-entropy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import check_not_masked, check_positive
from birdembed.base.public import public
from birdembed.training.scaled_rows import unit_and_lengths
from birdembed.training.similarity_loss import slope_of_features, softmax_of_others

_REPR = re.compile(r"SupCon\(temperature=([-+.e\d]+), weight=([-+.e\d]+)\)$")


@public
@dataclass(frozen=True)
class SupCon:
    """Supervised contrastive loss (Khosla et al. 2020, "Supervised Contrastive Learning").

    Pulls the embeddings of a class together and pushes different classes apart. Pass it to a
    training as ``loss=``; it is added to the cross-entropy.

    Parameters
    ----------
    temperature : float
        Divisor of the cosine similarities.
    weight : float
        Factor of the loss and its gradient.

    Notes
    -----
    This is L_out of the paper (equation 2), on the pooled features scaled to length 1: for each
    image i with other images P(i) of its class in the batch, the mean over p in P(i) of
    ``-log(exp(z_i.z_p / T) / sum over a != i of exp(z_i.z_a / T))``; then the mean over these
    images. An image without another one of its class only appears in the denominators.
    """

    temperature: float = 0.1
    weight: float = 0.2

    def __post_init__(self) -> None:
        """Check the parameters."""
        for name, value in (("temperature", self.temperature), ("weight", self.weight)):
            object.__setattr__(self, name, check_positive(name, value))

    @classmethod
    def from_repr(cls, text: str) -> SupCon | None:
        """Return the loss with the repr `text`, or None if it is not a `SupCon`."""
        match = _REPR.match(text)
        return None if match is None else cls(float(match[1]), float(match[2]))

    @np.errstate(over="ignore", invalid="ignore")  # a training checks the result
    def __call__(
        self, features: NDArray[Any], labels: NDArray[np.int64]
    ) -> tuple[float, NDArray[Any]]:
        """Return loss and gradient.

        Parameters
        ----------
        features : (n, dim) floats
        labels : (n,) int64

        Returns
        -------
        loss : float
            0 if no two images have the same class.
        d_features : (n, dim)
            Gradient of the loss, with the dtype of `features`. Computed in float64.

        Raises
        ------
        ValueError
            The shapes do not match, or values are masked.
        """
        check_not_masked("features", features)
        check_not_masked("labels", labels)
        wide = np.asarray(features, np.float64)
        if wide.ndim != 2 or len(wide) != len(labels):
            raise ValueError(
                f"features must be (n, dim) with one label per row, got {wide.shape} and "
                f"{len(labels)} labels"
            )
        labels = np.asarray(labels)
        z, lengths = unit_and_lengths(wide)
        alike = labels[:, None] == labels[None, :]
        np.fill_diagonal(alike, False)
        count = alike.sum(axis=1)
        anchors = count > 0
        if not anchors.any():
            return 0.0, np.zeros_like(features)
        found, log_found = softmax_of_others(z, self.temperature)
        share = alike / np.maximum(count, 1)[:, None]
        loss = -(share * log_found).sum(axis=1)[anchors].mean()
        d_logits = (found - share) * (anchors / anchors.sum())[:, None]
        d_wide = slope_of_features(d_logits, z, lengths, self.temperature)
        return float(self.weight * loss), (self.weight * d_wide).astype(features.dtype)
