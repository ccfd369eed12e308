"""The losses of a training beside the cross entropy, added up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.training.distill import Distill
from birdembed.training.learned_map import LearnedMap, MapState, Rules
from birdembed.weights.projection import Projection

Array = NDArray[np.float32]


class LossSum:
    """The losses of a training, and what they learn.

    Parameters
    ----------
    losses : sequence of callable
        As `TrainConfig` takes them, without the cross entropy.

    Notes
    -----
    What is learned changes in two parts: `stage` computes it, `settle` takes it over once the
    core's count of steps says that the network made the step too. So Ctrl-C between two lines
    leaves both at the same step.
    """

    def __init__(self, losses: Sequence[Any]) -> None:
        self._terms = [
            LearnedMap(loss) if isinstance(loss, Distill) and loss.form == "map" else loss
            for loss in losses
        ]
        self._maps = {i: t for i, t in enumerate(self._terms) if isinstance(t, LearnedMap)}
        self._gradients: dict[int, Array] = {}
        self._staged: tuple[int, dict[int, MapState]] | None = None

    # Before the first step

    @property
    def to_fit(self) -> bool:
        """Whether something must be fitted before the first step."""
        return any(one.state is None for one in self._maps.values())

    def see(self, batch: Any) -> None:
        """Keep what `fit` needs of images whose features it will get, in the same order."""
        for one in self._maps.values():
            one.see(batch)

    def fit(self, features: Array) -> list[str]:
        """Fit to the features of what was seen; return a sentence on each fit."""
        return [one.fit(features) for one in self._maps.values()]

    # A step

    def __call__(
        self, features: Array, batch: Any, accumulate: bool, scale: float
    ) -> tuple[float, Array | None]:
        """Return the sum of the losses, and its gradient for the features.

        Gradients of what is learned, times `scale`, are kept for `stage`: added to those there
        where `accumulate`, in place of them otherwise.
        """
        if not accumulate:
            self._gradients = {}
        total, slope = 0.0, None
        for i, term in enumerate(self._terms):
            value, d_features = _checked(term, features, batch)
            total += value
            slope = d_features if slope is None else slope + d_features
            if i in self._maps:
                fresh = self._maps[i].gradient
                assert fresh is not None
                fresh = fresh if scale == 1 else fresh * np.float32(scale)
                before = self._gradients.get(i)
                self._gradients[i] = fresh if before is None else before + fresh
        return total, slope

    def grad_norm(self, others: float) -> float:
        """Return the norm of all gradients, of which those elsewhere have the norm `others`."""
        own = [float(np.linalg.norm(gradient)) for gradient in self._gradients.values()]
        return math.hypot(others, *own) if own else others

    def stage(self, step: int, rules: Rules) -> None:
        """Compute what the optimizer's step number `step` makes of what is learned."""
        self._staged = (
            step,
            {i: one.stepped(self._gradients[i], step, rules) for i, one in self._maps.items()},
        )

    def settle(self, steps: int) -> None:
        """Take over what was staged for a step, where that is done; forget it where not."""
        staged, self._staged = self._staged, None
        if staged is not None and staged[0] == steps:
            for i, state in staged[1].items():
                self._maps[i].state = state

    # What it is afterwards

    def projections(self, ema: bool) -> list[Projection]:
        """Return the maps in the order of the losses; with `ema` their running means."""
        return [one.projection(ema) for one in self._maps.values() if one.state is not None]

    def arrays(self) -> dict[str, Array]:
        """Return everything that must be kept, for `restore`."""
        return {
            f"{i}/{name}": array
            for i, one in self._maps.items()
            for name, array in one.arrays().items()
        }

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take what `arrays` gave.

        Raises
        ------
        WeightsError
            They are not those of these losses.
        """
        for i, one in self._maps.items():
            start = f"{i}/"
            one.restore({k[len(start) :]: a for k, a in arrays.items() if k.startswith(start)})


def _checked(term: Any, features: Array, batch: Any) -> tuple[float, Array]:
    """Return a loss's value and gradient; one that takes labels sees the images that have one."""
    if getattr(term, "needs_batch", False):
        return _as_numbers(term(features, batch), features)
    known = batch.labels >= 0
    if known.all():
        return _as_numbers(term(features, batch.labels), features)
    slope = np.zeros_like(features)
    if not known.any():
        return 0.0, slope
    value, slope[known] = _as_numbers(term(features[known], batch.labels[known]), features[known])
    return value, slope


def _as_numbers(result: Any, features: Array) -> tuple[float, Array]:
    """Return what a loss gave; TypeError or ValueError where that is anything but numbers."""
    try:
        value, slope = result
        value, slope = float(value), np.asarray(slope)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"loss must return (loss, d_features), got {type(result).__name__}"
        ) from error
    if slope.shape != features.shape:
        raise ValueError(
            f"loss returned d_features of shape {slope.shape}, expected {features.shape}"
        )
    return value, np.ascontiguousarray(slope, np.float32)
