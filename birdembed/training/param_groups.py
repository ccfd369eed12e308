"""Learning rates and weight decay per parameter."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from birdembed.training.config import TrainConfig

_BLOCK = re.compile(r"layer(\d)\.(\d+)\.")
_STATISTICS = (".running_mean", ".running_var")
HEAD = "fc."


@dataclass(frozen=True)
class ParameterPlan:
    """The learning rate and other settings of each parameter, in the order of the core's table.

    Attributes
    ----------
    lr : ndarray
        `(n,)` float64, the maximum learning rate; 0 for frozen parameters.
    weight_decay : ndarray
        `(n,)` float32; 0 for batch norm, biases and frozen parameters.
    trainable : list of bool
        False for frozen parameters and running statistics.
    """

    lr: NDArray[np.float64]
    weight_decay: NDArray[np.float32]
    trainable: list[bool]

    def lr_at(self, factor: float) -> NDArray[np.float32]:
        """Return the learning rates for a factor of the schedule."""
        return (self.lr * factor).astype(np.float32)


def is_statistic(name: str) -> bool:
    """Return whether a parameter is a running statistic, which is not learned."""
    return name.endswith(_STATISTICS)


def batch_norms(table: Sequence[tuple[str, tuple[int, ...]]]) -> list[str]:
    """Return the names of the batch norms, without suffix, in table order."""
    return [n.removesuffix(".running_mean") for n, _ in table if n.endswith(".running_mean")]


def layer_of(name: str, blocks: Sequence[str]) -> int:
    """Return the layer number of a parameter: 0 for the stem, then the blocks, then the head."""
    if name.startswith(HEAD):
        return len(blocks) + 1
    match = _BLOCK.match(name)
    return 0 if match is None else blocks.index(match[0]) + 1


def plan_parameters(
    table: Sequence[tuple[str, tuple[int, ...]]], config: TrainConfig
) -> ParameterPlan:
    """Return the settings of each parameter for a configuration.

    Parameters
    ----------
    table : sequence of (name, shape)
        The core's `parameter_table`.
    config : TrainConfig

    Raises
    ------
    ValueError
        A prefix in `freeze` matches no parameter, or no parameter is left to train.
    """
    names = [name for name, _ in table]
    _check_prefixes(config.freeze, names)
    norms = set(batch_norms(table))
    blocks = list(dict.fromkeys(m[0] for m in map(_BLOCK.match, names) if m))
    lr = np.zeros(len(table))
    decay = np.zeros(len(table), np.float32)
    trainable = []
    for i, (name, shape) in enumerate(table):
        in_norm = name.rpartition(".")[0] in norms
        learns = not (
            is_statistic(name)
            or name.startswith(config.freeze)
            or (in_norm and config.bn == "frozen")
        )
        trainable.append(learns)
        if not learns:
            continue
        top = config.head_lr if name.startswith(HEAD) else config.lr
        lr[i] = top * config.layer_decay ** (len(blocks) + 1 - layer_of(name, blocks))
        # A vector is a bias or belongs to batch norm, where weight decay is not useful.
        decay[i] = config.weight_decay if len(shape) > 1 else 0.0
    if not any(trainable):
        raise ValueError(f"freeze={config.freeze!r} freezes all parameters; train at least one")
    return ParameterPlan(lr, decay, trainable)


def _check_prefixes(prefixes: tuple[str, ...], names: Sequence[str]) -> None:
    for prefix in prefixes:
        if any(name.startswith(prefix) for name in names):
            continue
        starts = sorted({p for name in names for p in _starts(name)})
        near = difflib.get_close_matches(prefix, starts, 3, 0.5) or ["conv1", "layer1.", "fc."]
        raise ValueError(
            f"freeze: no parameter name starts with {prefix!r}; existing prefixes are "
            f"{', '.join(map(repr, near))}"
        )


def _starts(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]
