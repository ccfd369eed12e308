"""Convert labels to classifier targets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def smoothed_targets(
    labels: NDArray[np.int64], classes: int, smoothing: float, own: float | None = None
) -> NDArray[np.float32]:
    """Return the smoothed targets ``(n, classes)`` of labels; label -1 gives a row of zeros.

    Parameters
    ----------
    labels : (n,) int64
    classes : int
    smoothing : float
        Total weight that is spread evenly over all classes.
    own : float, optional
        Target of the labelled class. Default: ``1 - smoothing + smoothing / classes``.
    """
    others = smoothing / max(classes, 1)
    targets = np.full((len(labels), classes), others, np.float32)
    known = np.flatnonzero(labels >= 0)
    targets[known, labels[known]] = 1 - smoothing + others if own is None else own
    targets[labels < 0] = 0
    return targets
