"""One training step: ResNet-50 with 51 classes, 224 px, cross-entropy, AdamW, on pixels in memory.

torch runs with channels_last, in float32 and with bfloat16 autocast, which are its fastest modes.
The losses of the first step are compared before timing. Peak memory is that of the whole process:
library, weights, gradients, moments and activations.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.common import Result, Settings, Work, compare

CLASSES, SIZE = 51, 224
BATCHES = (16, 32)
LR, DECAY = 1e-4, 0.05
WARM_UP = 2  # steps, because torch allocates memory in the first ones

#: Maximum relative difference of the first losses, from rounding in 53 layers.
AGREE = {"float32": 1e-4, "bfloat16": 2e-2}


def batch(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (n, 3, SIZE, SIZE) float32 and labels (n,) int64, the same for everyone."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 3, SIZE, SIZE), dtype=np.float32)
    return x, rng.integers(0, CLASSES, n)


def weights() -> dict[str, np.ndarray]:
    """Return the initial weights of all contenders."""
    import birdembed as be

    return be.Model("resnet50", num_classes=CLASSES, seed=0).state_dict()


def warmed_up(step: Callable[[], float]) -> Work:
    """Return the work: the first call returns the first loss and warms up, others are one step."""
    calls = iter(range(1 << 30))

    def work() -> np.ndarray | None:
        loss = step()
        if next(calls):
            return None
        for _ in range(WARM_UP):
            step()
        return np.array([loss])

    return work


def birdembed(options: dict[str, Any]) -> Work:
    from birdembed.training.config import TrainConfig
    from birdembed.training.engine import Engine

    config = TrainConfig(
        optimizer="adamw", lr=LR, head_lr=LR, weight_decay=DECAY, grad_clip=None, ema=None,
        precision=options["precision"], num_threads=options["threads"],
    )  # fmt: skip
    engine = Engine("resnet50", weights(), config)
    x, y = batch(options["batch"])
    given = SimpleNamespace(pixels=x, labels=y, targets=np.eye(CLASSES, dtype=np.float32)[y])
    return warmed_up(lambda: engine.step([given], 1.0).loss)


def torch(options: dict[str, Any]) -> Work:
    import torch

    from benchmarks.peers import torch_module

    torch.set_num_threads(options["threads"])
    state = weights()
    head = torch.nn.Linear(2048, CLASSES)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(state.pop("fc.weight")))
        head.bias.copy_(torch.from_numpy(state.pop("fc.bias")))
    network = torch.nn.Sequential(torch_module(state), head)
    del state
    network.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=DECAY)
    x, y = map(torch.from_numpy, batch(options["batch"]))
    x = x.to(memory_format=torch.channels_last)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=options["precision"] == "bfloat16"):
            loss = torch.nn.functional.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return warmed_up(step)


CONTENDERS = {"birdembed": birdembed, "torch": torch}


def agree(tolerance: float) -> Callable[[Any, Any], str | None]:
    """Return a check of two losses."""

    def check(ours: Any, theirs: Any) -> str | None:
        off = float(abs(ours[0] - theirs[0]) / theirs[0])
        return None if off <= tolerance else f"loss {theirs[0]:.4f} instead of {ours[0]:.4f}"

    return check


def main(settings: Settings) -> list[Result]:
    import birdembed as be

    results = []
    for precision in be.info()["precisions"]:
        if precision == "int8":  # only for inference
            continue
        for n in BATCHES:
            results.append(
                compare(
                    f"training step, {precision}, batch {n}",
                    __name__,
                    list(CONTENDERS),
                    {"batch": n, "precision": precision},
                    settings,
                    amount=n,
                    check=agree(AGREE[precision]),
                    memory=True,
                )
            )
    return results
