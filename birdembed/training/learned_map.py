"""The linear map of a `Distill` loss, trained together with the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed._core import WeightsError
from birdembed.training.adamw import BETA1, BETA2, EPS
from birdembed.training.cosine_loss import cosine_loss
from birdembed.training.distill import Distill
from birdembed.training.ridge import fit_ridge
from birdembed.training.teacher import check_same_width, rows_of
from birdembed.weights.projection import Projection

Array = NDArray[np.float32]


@dataclass(frozen=True)
class MapState:
    """The state of a map after a step: all arrays ``(features, dim)`` float32.

    Attributes
    ----------
    matrix : ndarray
    m, v : ndarray or None
        Moments of the optimizer.
    ema : ndarray or None
        Moving average of the matrix.
    """

    matrix: Array
    m: Array | None = None
    v: Array | None = None
    ema: Array | None = None


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The options of an optimizer step, as for `apply` in the core."""

    kind: str
    lr: float
    weight_decay: float
    momentum: float
    nesterov: bool
    grad_scale: float
    ema_decay: float


class LearnedMap:
    """A `Distill` loss with form "map" in a training: the loss and the learned map.

    Parameters
    ----------
    spec : Distill
    """

    needs_batch = True

    def __init__(self, spec: Distill) -> None:
        self.spec = spec
        self.state: MapState | None = None
        self.gradient: Array | None = None
        self._seen: list[Array] = []

    def __repr__(self) -> str:
        """Return the loss as text."""
        return repr(self.spec)

    # The fit

    def see(self, batch: Any) -> None:
        """Store the targets of a batch; `fit` gets the features of the same images in order."""
        rows = rows_of(self.spec.targets, batch)
        if self._seen:
            check_same_width(rows.shape[1], self._seen[0].shape[1])
        self._seen.append(rows)

    def fit(self, features: Array) -> str:
        """Fit the map to the features of the stored targets; return a sentence about the fit."""
        targets = np.concatenate(self._seen)
        self._seen = []
        known = ~np.isnan(targets[:, 0])
        if not known.any():
            raise ValueError("targets of Distill: all rows are NaN")
        found = fit_ridge(features[known], targets[known])
        size = np.sqrt(np.mean(np.square(found.matrix, dtype=np.float64)))
        if not size > 0:
            raise ValueError("the features of the images do not predict the targets of Distill")
        scale = 1 / (size * np.sqrt(len(found.matrix)))
        self.state = MapState(found.matrix * np.float32(scale))
        judged = "" if found.cosine is None else f": cosine {found.cosine:.3f} on held-out ones"
        return (
            f"map to the teacher's {targets.shape[1]} dimensions fitted on {known.sum()} "
            f"images{judged}"
        )

    # A step

    @np.errstate(over="ignore", invalid="ignore")  # a training checks the result
    def __call__(self, features: Array, batch: Any) -> tuple[float, Array]:
        """Return the loss and the gradient of the features; that of the map is in `gradient`."""
        assert self.state is not None
        targets = rows_of(self.spec.targets, batch)
        check_same_width(targets.shape[1], self.state.matrix.shape[1])
        weight = self.spec.weight
        loss, d_features, self.gradient = mapped_loss(features, self.state.matrix, targets, weight)
        return loss, d_features

    @np.errstate(over="ignore", invalid="ignore")  # a training checks the next loss
    def stepped(self, gradient: Array, step: int, rules: Rules) -> MapState:
        """Return the state after optimizer step number `step`, counted from 1."""
        now = self.state
        assert now is not None
        new = now
        if self.spec.lr_factor:
            new = optimized(now, gradient, step, replace(rules, lr=rules.lr * self.spec.lr_factor))
        if rules.ema_decay > 0:
            mean = now.matrix if now.ema is None else now.ema
            keep = np.float32(1 - rules.ema_decay)
            new = replace(new, ema=mean + keep * (new.matrix - mean))
        return new

    # The result

    def projection(self, ema: bool) -> Projection:
        """Return the map as a projection; with `ema` its moving average."""
        assert self.state is not None
        averaged = ema and self.state.ema is not None
        matrix = self.state.ema if averaged else self.state.matrix
        assert matrix is not None
        return Projection("avg", np.zeros(len(matrix), np.float32), matrix)

    def arrays(self) -> dict[str, Array]:
        """Return the arrays to store in a checkpoint, for `restore`."""
        return {k: a for k, a in vars(self.state).items() if a is not None} if self.state else {}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Restore the arrays returned by `arrays`.

        Raises
        ------
        WeightsError
            Arrays are missing, or their shapes differ.
        """
        shapes = {array.shape for array in arrays.values()}
        if (
            "matrix" not in arrays
            or len(shapes) != 1
            or not set(arrays) <= {"matrix", "m", "v", "ema"}
        ):
            raise WeightsError(f"the checkpoint has no map for {self.spec!r}; start again")
        self.state = MapState(**arrays)


def mapped_loss(
    features: NDArray[Any], matrix: NDArray[Any], targets: NDArray[Any], weight: float = 1.0
) -> tuple[float, NDArray[Any], NDArray[Any]]:
    """Return the `cosine_loss` of ``features @ matrix``, and the gradients of both factors.

    Parameters
    ----------
    features : (n, features) floats
    matrix : (features, dim) floats
    targets, weight
        See `cosine_loss`.

    Returns
    -------
    loss : float
    d_features, d_matrix : ndarray
        Gradients, with the shape and dtype of `features` and `matrix`.
    """
    loss, slope = cosine_loss(features @ matrix, targets, weight)
    return loss, slope @ matrix.T, features.T @ slope


def optimized(state: MapState, gradient: Array, step: int, rules: Rules) -> MapState:
    """Return matrix and moments after a step of SGD or AdamW, computed as in the core."""
    g, p = gradient * np.float32(rules.grad_scale), state.matrix
    lr, decay = np.float32(rules.lr), np.float32(rules.weight_decay)
    m = np.zeros_like(p) if state.m is None else state.m
    if rules.kind == "sgd":
        momentum = np.float32(rules.momentum)
        g = g + decay * p
        m = g if step == 1 else momentum * m + g
        move = g + momentum * m if rules.nesterov else m
        return replace(state, matrix=p - lr * move, m=m)
    v = np.zeros_like(p) if state.v is None else state.v
    beta1, beta2, eps = np.float32(BETA1), np.float32(BETA2), np.float32(EPS)  # as in the core
    m = m + (1 - beta1) * (g - m)
    v = beta2 * v + (1 - beta2) * g * g
    rate = np.float32(rules.lr / (1 - BETA1**step))
    root = np.float32(np.sqrt(1 - BETA2**step))
    matrix = p * (1 - lr * decay) - rate * (m / (np.sqrt(v) / root + eps))
    return replace(state, matrix=matrix, m=m, v=v)
