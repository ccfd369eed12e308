"""Stop a training whose numbers are no longer finite."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from birdembed._core import BirdembedError
from birdembed.weights.tensors import not_finite


class Diverged(BirdembedError):
    """The loss, the gradient or a weight is NaN or infinite.

    Parameters
    ----------
    what : str
        What is not finite, and when.
    hint : str
        What to do.

    Attributes
    ----------
    what : str
    """

    def __init__(
        self,
        what: str,
        hint: str = "a smaller lr or weight_decay, more warmup_epochs or a grad_clip may help",
    ) -> None:
        super().__init__(f"{what}; {hint}")
        self.what = what


def check_finite(arrays: Mapping[str, np.ndarray], step: int) -> None:
    """Raise `Diverged` if one of the arrays contains NaN or infinity after a step."""
    name = not_finite(arrays)
    if name is not None:
        raise Diverged(f"training has diverged: {name} contains NaN or infinity after step {step}")
