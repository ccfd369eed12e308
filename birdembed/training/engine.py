"""One optimizer step in the C core."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed import _core
from birdembed._core import BackendError
from birdembed.model.network import Trunk
from birdembed.training.config import TrainConfig
from birdembed.training.diverged import Diverged, check_finite
from birdembed.training.learned_map import Rules
from birdembed.training.loss_options import own_losses
from birdembed.training.loss_sum import LossSum
from birdembed.training.param_groups import is_statistic, plan_parameters
from birdembed.training.schedule import ema_decay
from birdembed.weights.projection import Projection


class StepResult(NamedTuple):
    """Result of one optimizer step.

    Attributes
    ----------
    loss : float
        Mean over the images.
    right : int
        Number of images whose class was predicted correctly.
    labelled, images : int
        Number of images with a label, and of all images.
    """

    loss: float
    right: int
    labelled: int
    images: int

    @property
    def accuracy(self) -> dict[str, float]:
        """`train_accuracy`, if at least one image had a label."""
        return {"train_accuracy": self.right / self.labelled} if self.labelled else {}


class Engine:
    """The core's trainer, with the options of one training.

    Parameters
    ----------
    architecture : str
    state : mapping of str to ndarray
        All parameters, including the head.
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
        self.num_classes = len(state["fc.weight"]) if "fc.weight" in state else 0
        self.table = _core.parameter_table(architecture, self.num_classes)
        self.names = [name for name, _ in self.table]
        self.plan = plan_parameters(self.table, config)
        self._config = config
        # The core counts in float32, where a tiny decay is 0 as well.
        self._ema = config.ema if config.ema and np.float32(config.ema) > 0 else 0.0
        self._class_weights = class_weights
        self._threads = config.num_threads or 0
        self.core = _core.Trainer(
            architecture,
            self.num_classes,
            [np.ascontiguousarray(state[name], np.float32) for name in self.names],
        )
        self.core.configure(config.bn, self.plan.trainable, precision=config.precision)
        self.losses = LossSum(own_losses(config.loss))

    @property
    def steps(self) -> int:
        """Number of optimizer steps so far, as counted by the core."""
        return int(self.core.step_count)

    def step(self, group: Sequence[Any], factor: float) -> StepResult:
        """Train on batches in a single optimizer step.

        Parameters
        ----------
        group : sequence
            Batches with `pixels, labels, targets, positions`; their gradients are averaged.
        factor : float
            Factor of the learning rates.

        Raises
        ------
        Diverged
            Loss or gradient is not finite; the weights did not change.
        """
        config, core, losses = self._config, self.core, self.losses
        losses.settle(self.steps)
        total, right, labelled, images = 0.0, 0, 0, 0
        for i, batch in enumerate(group):
            loss, found = self._backward(batch, accumulate=i > 0, scale=1 / len(group))
            total += loss * len(batch.labels)
            right += found
            labelled += int((batch.labels >= 0).sum())
            images += len(batch.labels)
        norm = losses.grad_norm(float(core.grad_norm(self._threads)))
        if not math.isfinite(norm):
            raise Diverged(f"the gradient is {norm} at step {self.steps + 1}")
        clip = config.grad_clip
        scale = 1.0 if clip is None or norm <= clip else clip / norm
        # The step of the network (in C) and of arrays learned by losses (in Python) use the same
        # rules, so a new key must be a field of `Rules` and an argument of `core.apply`.
        how: dict[str, Any] = {
            "momentum": config.momentum,
            "nesterov": config.nesterov,
            "grad_scale": scale,
            "ema_decay": ema_decay(self._ema, self.steps),
        }
        rules = Rules(
            kind=config.optimizer, lr=config.lr * factor, weight_decay=config.weight_decay, **how
        )
        losses.stage(self.steps + 1, rules)
        core.apply(
            config.optimizer,
            self.plan.lr_at(factor),
            self.plan.weight_decay,
            **how,
            num_threads=self._threads,
        )
        losses.settle(self.steps)
        return StepResult(total / images, right, labelled, images)

    def _backward(self, batch: Any, accumulate: bool, scale: float) -> tuple[float, int]:
        core = self.core
        features = core.forward(batch.pixels, self._threads)
        loss, right = self._cross_entropy(batch) if self.num_classes else (0.0, 0)
        if math.isfinite(loss):
            extra, d_features = self.losses(features, batch, self.steps + 1, accumulate, scale)
            loss += extra
        if not math.isfinite(loss):
            raise Diverged(f"the loss is {loss} at step {self.steps + 1}")
        core.backward(d_features, accumulate=accumulate, scale=scale)
        return float(loss), right

    def _cross_entropy(self, batch: Any) -> tuple[float, int]:
        """Return the mean over the images with labels, and how many of them are right."""
        targets, weights = batch.targets, None
        if self._class_weights is not None:
            weights = np.asarray(targets @ self._class_weights, np.float32)
        if (batch.labels < 0).any():
            # An image mixed with one without a label counts with its own share.
            share = targets.sum(axis=1, keepdims=True)
            targets = np.divide(targets, share, out=np.zeros_like(targets), where=share > 0)
            weights = share[:, 0] if weights is None else weights
        loss, logits = self.core.head_loss(targets, weights)
        return float(loss), int((logits.argmax(axis=1) == batch.labels).sum())

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the gradients of the last step by name, before clipping and weight decay."""
        found: Any = zip(self.names, self.core.gradients(), strict=True)
        return {name: array for name, array in found if not is_statistic(name)}

    def trunk(self, ema: bool) -> Trunk:
        """Return the current weights for inference; with `ema` their moving average."""
        return Trunk.of_network(self.core.network(ema=ema and self._ema > 0 and self.steps > 0))

    def projections(self, ema: bool) -> list[Projection]:
        """Return the linear maps learned by losses; with `ema` their moving averages."""
        check_finite(self.learned(), self.steps)
        return self.losses.projections(ema and self._ema > 0 and self.steps > 0)

    def arrays(self) -> dict[str, list[np.ndarray]]:
        """Return the arrays to store in a checkpoint, for `restore`."""
        arrays: dict[str, list[np.ndarray]] = {"model": self.core.parameters()}
        arrays |= self.core.moments()
        mean = self.core.ema()
        if mean is not None:
            arrays["ema"] = mean
        return arrays

    def learned(self) -> dict[str, np.ndarray]:
        """Return the arrays learned by losses to store in a checkpoint, for `restore`."""
        self.losses.settle(self.steps)
        return dict(self.losses.arrays())

    def restore(
        self,
        arrays: Mapping[str, list[np.ndarray]],
        learned: Mapping[str, np.ndarray],
        step: int,
    ) -> None:
        """Restore the arrays returned by `arrays` and `learned`."""
        self.core.set_parameters(arrays["model"])
        self.core.set_moments({k: arrays[k] for k in ("m", "v") if k in arrays}, step)
        self.core.set_ema(arrays.get("ema"))
        self.losses.restore(learned)


def native_precision(precision: str) -> str:
    """Return the precision to use on this machine for `precision` of a `TrainConfig`.

    Raises
    ------
    BackendError
        `precision` is "bfloat16", and the processor does not support it.
    """
    if precision == "float32":
        return precision
    backend = _core.backend()
    if backend["bfloat16"]:
        return "bfloat16"
    if precision == "bfloat16":
        raise BackendError(
            "precision='bfloat16' needs a processor with AVX512_BF16 or AMX, but oneDNN found "
            f"{backend['isa']}; use 'float32', or 'auto', which uses bfloat16 only on processors "
            "that support it"
        )
    return "float32"
