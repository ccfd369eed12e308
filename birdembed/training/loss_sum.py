"""The sum of the losses that are added to the cross-entropy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import check_not_masked
from birdembed.base.text import shortened, shown
from birdembed.training.distill import Distill
from birdembed.training.diverged import Diverged
from birdembed.training.learned_map import LearnedMap, MapState, Rules
from birdembed.training.loss_options import loss_text
from birdembed.weights.projection import Projection

Array = NDArray[np.float32]


class LossSum:
    """The losses of a training, and the arrays they learn.

    Parameters
    ----------
    losses : sequence of callable
        As for `TrainConfig`, without the cross-entropy.

    Notes
    -----
    Learned arrays are updated in two parts: `stage` computes the update, and `settle` applies it
    once the step count of the core shows that the network made the step too. So if Ctrl-C
    interrupts in between, both are at the same step.
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
        """Whether a loss must be fitted before the first step."""
        return any(one.state is None for one in self._maps.values())

    def see(self, batch: Any) -> None:
        """Store what `fit` needs of a batch; it gets the features of the same images in order."""
        for one in self._maps.values():
            one.see(_copied(batch))

    def fit(self, features: Array) -> list[str]:
        """Fit the losses to the features of the stored batches; return a sentence on each fit."""
        return [one.fit(features) for one in self._maps.values()]

    # A step

    def __call__(
        self, features: Array, batch: Any, step: int, accumulate: bool, scale: float
    ) -> tuple[float, Array | None]:
        """Return the sum of the losses, and its gradient with respect to the features.

        The gradients of learned arrays, times `scale`, are stored for `stage`. With `accumulate`
        they are added to those already stored, else they replace them. `step` is for errors.
        """
        if not accumulate:
            self._gradients = {}
        total, slope = 0.0, None
        for i, term in enumerate(self._terms):
            value, d_features = _checked(term, features, batch, step)
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
        """Return the norm of all gradients, given the norm `others` of the network's gradients."""
        own = [float(np.linalg.norm(gradient)) for gradient in self._gradients.values()]
        return math.hypot(others, *own) if own else others

    def stage(self, step: int, rules: Rules) -> None:
        """Compute the learned arrays after optimizer step number `step`."""
        self._staged = (
            step,
            {i: one.stepped(self._gradients[i], step, rules) for i, one in self._maps.items()},
        )

    def settle(self, steps: int) -> None:
        """Apply a staged update if the network has made that step, else discard it."""
        staged, self._staged = self._staged, None
        if staged is not None and staged[0] == steps:
            for i, state in staged[1].items():
                self._maps[i].state = state

    # The result

    def projections(self, ema: bool) -> list[Projection]:
        """Return the maps in the order of the losses; with `ema` their moving averages."""
        return [one.projection(ema) for one in self._maps.values() if one.state is not None]

    def arrays(self) -> dict[str, Array]:
        """Return the arrays to store in a checkpoint, for `restore`."""
        return {
            f"{i}/{name}": array
            for i, one in self._maps.items()
            for name, array in one.arrays().items()
        }

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Restore the arrays returned by `arrays`.

        Raises
        ------
        WeightsError
            The arrays belong to other losses.
        """
        for i, one in self._maps.items():
            start = f"{i}/"
            one.restore({k[len(start) :]: a for k, a in arrays.items() if k.startswith(start)})


def _checked(term: Any, features: Array, batch: Any, step: int) -> tuple[float, Array]:
    """Return value and gradient of a loss; a loss of labels only gets images with a label.

    Each loss gets arrays of its own, so that one that works in place changes nothing for others.
    """
    if getattr(term, "needs_batch", False):
        return _as_numbers(term, term(features.copy(), _copied(batch)), features, step)
    known = batch.labels >= 0
    if not known.any():
        return 0.0, np.zeros_like(features)
    own = features[known]
    value, own_slope = _as_numbers(term, term(own.copy(), batch.labels[known]), own, step)
    if known.all():
        return value, own_slope
    slope = np.zeros_like(features)
    slope[known] = own_slope
    return value, slope


def _copied(batch: Any) -> SimpleNamespace:
    """Return a batch with copies of its arrays.

    They are not read-only views, because torch warns about those.
    """
    arrays = batch._asdict() if hasattr(batch, "_asdict") else vars(batch)
    return SimpleNamespace(**{k: None if a is None else a.copy() for k, a in arrays.items()})


def _as_numbers(term: Any, result: Any, features: Array, step: int) -> tuple[float, Array]:
    """Return the result of a loss; raise an error that names the loss if it is no such pair.

    Raises
    ------
    TypeError, ValueError
        The result is not a number and an array of the shape of the features.
    Diverged
        One of them is not finite.
    """
    name = f"the loss {shortened(loss_text(term), 160)}"
    try:
        value, slope = result
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must return (loss, d_features), got {shown(result)}") from error
    value, slope = (
        _real(value, f"{name} returned a value"),
        _real(slope, f"{name} returned d_features"),
    )
    if value.ndim:
        raise TypeError(f"{name} returned a value of shape {value.shape}, expected a single number")
    if slope.shape != features.shape:
        raise ValueError(
            f"{name} returned d_features of shape {slope.shape}, expected {features.shape}"
        )
    with np.errstate(over="ignore"):  # too large for float32: not finite
        slope = np.ascontiguousarray(slope, np.float32)
    wrong = _not_finite(float(value), slope)
    if wrong and not np.isfinite(features).all():
        raise Diverged(f"the loss is {value} at step {step}")
    if wrong:
        raise Diverged(
            f"{name} returned {wrong} at step {step}, for features that are finite",
            "check how it is computed, or try a smaller weight or lr",
        )
    return float(value), slope


def _not_finite(value: float, slope: Array) -> str:
    """Return what is not finite in the result of a loss, or ""."""
    if not math.isfinite(value):
        return str(value)
    return "" if np.isfinite(slope).all() else "d_features with NaN, infinity or too large numbers"


def _real(part: Any, what: str) -> NDArray[Any]:
    """Return an array of real numbers; raise an error if a part of the result is another one."""
    check_not_masked(f"{what}, which", part)
    try:
        array = np.asarray(part)
    except ValueError as error:
        raise TypeError(f"{what} that NumPy cannot read: {error}") from error
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{what} of dtype {array.dtype}, expected real numbers")
    return array
