"""One optimizer step in the C core."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed import _core
from birdembed._core import BackendError, BirdembedError
from birdembed.model.network import Trunk
from birdembed.training.config import TrainConfig
from birdembed.training.param_groups import is_statistic, plan_parameters
from birdembed.training.schedule import ema_decay


class Diverged(BirdembedError):
    """The loss or the gradient is NaN or infinite."""


class StepResult(NamedTuple):
    """The result of one step of the optimizer.

    Attributes
    ----------
    loss : float
        Mean over the images.
    right : int
        Images whose class was found.
    images : int
    """

    loss: float
    right: int
    images: int


class Engine:
    """The core's trainer, with the options of one training.

    Parameters
    ----------
    architecture : str
    state : mapping of str to ndarray
        All parameters, the head among them.
    config : TrainConfig
    class_weights : (c,) float32 or None
    """

    def __init__(
        self,
        architecture: str,
        state: Mapping[str, np.ndarray],
        config: TrainConfig,
        class_weights: NDArray[np.float32] | None = None,
    ) -> None:
        self.architecture = architecture
        self.num_classes = int(state["fc.weight"].shape[0])
        self.table = _core.parameter_table(architecture, self.num_classes)
        self.names = [name for name, _ in self.table]
        self.plan = plan_parameters(self.table, config)
        self._config = config
        self._class_weights = class_weights
        self._threads = config.num_threads or 0
        self.core = _core.Trainer(
            architecture,
            self.num_classes,
            [np.ascontiguousarray(state[name], np.float32) for name in self.names],
        )
        self.core.configure(config.bn, self.plan.trainable, precision=config.precision)

    @property
    def steps(self) -> int:
        """Steps of the optimizer so far, as the core counts them."""
        return int(self.core.step_count)

    def step(self, group: Sequence[Any], factor: float) -> StepResult:
        """Train on batches as one step.

        Parameters
        ----------
        group : sequence
            Batches with `pixels`, `labels` and `targets`; their gradients are averaged.
        factor : float
            Of the learning rates.

        Raises
        ------
        Diverged
            Loss or gradient is not finite; nothing was changed.
        """
        config, core = self._config, self.core
        total, right, images = 0.0, 0, 0
        for i, batch in enumerate(group):
            loss, found = self._backward(batch, accumulate=i > 0, scale=1 / len(group))
            total += loss * len(batch.labels)
            right += found
            images += len(batch.labels)
        norm = float(core.grad_norm(self._threads))
        if not math.isfinite(norm):
            raise Diverged(f"the gradient is {norm} at step {self.steps + 1}{_ADVICE}")
        clip = config.grad_clip
        scale = 1.0 if clip is None or norm <= clip else clip / norm
        core.apply(
            config.optimizer,
            self.plan.lr_at(factor),
            self.plan.weight_decay,
            momentum=config.momentum,
            nesterov=config.nesterov,
            grad_scale=scale,
            ema_decay=0.0 if config.ema is None else ema_decay(config.ema, self.steps),
            num_threads=self._threads,
        )
        return StepResult(total / images, right, images)

    def _backward(self, batch: Any, accumulate: bool, scale: float) -> tuple[float, int]:
        core, own = self.core, self._config.loss
        features = core.forward(batch.pixels, self._threads)
        weights = None
        if self._class_weights is not None:
            weights = np.asarray(batch.targets @ self._class_weights, np.float32)
        loss, logits = core.head_loss(batch.targets, weights)
        d_features = None
        if callable(own):
            extra, d_features = _own_loss(own, features, batch.labels)
            loss += extra
        if not math.isfinite(loss):
            raise Diverged(f"the loss is {loss} at step {self.steps + 1}{_ADVICE}")
        core.backward(d_features, accumulate=accumulate, scale=scale)
        return float(loss), int((logits.argmax(axis=1) == batch.labels).sum())

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the last step's gradients by name, before clipping and weight decay."""
        found: Any = zip(self.names, self.core.gradients(), strict=True)
        return {name: array for name, array in found if not is_statistic(name)}

    def trunk(self, ema: bool) -> Trunk:
        """Return the present weights for inference; with `ema` their running mean."""
        averaged = ema and self._config.ema is not None and self.steps > 0
        return Trunk.of_network(self.core.network(ema=averaged))

    def arrays(self) -> dict[str, list[np.ndarray]]:
        """Return the arrays that a checkpoint keeps, for `restore`."""
        arrays: dict[str, list[np.ndarray]] = {"model": self.core.parameters()}
        arrays |= self.core.moments()
        mean = self.core.ema()
        if mean is not None:
            arrays["ema"] = mean
        return arrays

    def restore(self, arrays: Mapping[str, list[np.ndarray]], step: int) -> None:
        """Take what `arrays` gave."""
        self.core.set_parameters(arrays["model"])
        self.core.set_moments({k: arrays[k] for k in ("m", "v") if k in arrays}, step)
        self.core.set_ema(arrays.get("ema"))


_ADVICE = "; a smaller lr, more warmup_epochs or a grad_clip may help"


def native_precision(precision: str) -> str:
    """Return the precision that `precision` of a `TrainConfig` stands for on this machine.

    Raises
    ------
    BackendError
        It is "bfloat16", and the processor has none.
    """
    if precision == "float32":
        return precision
    backend = _core.backend()
    if backend["bfloat16"]:
        return "bfloat16"
    if precision == "bfloat16":
        raise BackendError(
            "precision='bfloat16' needs a processor with AVX512_BF16 or AMX, and oneDNN finds "
            f"{backend['isa']} here: use 'float32', or 'auto', which is bfloat16 only where that "
            "is native"
        )
    return "float32"


def _own_loss(
    loss: Any, features: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[float, NDArray[np.float32]]:
    result = loss(features, labels)
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
