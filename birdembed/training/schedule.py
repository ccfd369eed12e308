"""Learning rate schedules."""

from __future__ import annotations

import math

#: "step" divides by ten at these fractions of the run; "onecycle" starts and ends at 1 / these.
STEP_AT = (1 / 3, 2 / 3)
STEP_FACTOR = 0.1
ONECYCLE_START, ONECYCLE_END = 1 / 25, 1e-5


def schedule_factor(kind: str, step: int, total: int, warmup: float = 0.0) -> float:
    """Return the factor of the maximum learning rate at a step.

    Parameters
    ----------
    kind : {"constant", "step", "cosine", "onecycle"}
    step : int
        Step number, from 0. Steps past the end are treated as the last one.
    total : int
        Number of steps of the whole run, at least 1.
    warmup : float
        Number of warm-up steps. The warm-up is linear, and above 0 from the first step; with
        onecycle it is a half cosine.

    Returns
    -------
    float
        0 to 1.

    Notes
    -----
    step: divided by ten after each third of the run. cosine: a half cosine from 1 towards 0.
    onecycle: from 1/25 up to 1, then a half cosine down to 1e-5.
    """
    step = min(max(step, 0), total - 1)
    warmup = min(warmup, total)
    if kind == "onecycle":
        return _onecycle(step, total, warmup)
    if step < warmup:
        return min(1.0, (step + 1) / warmup)
    if kind == "constant":
        return 1.0
    if kind == "step":
        return STEP_FACTOR ** sum(step >= part * total for part in STEP_AT)
    if kind == "cosine":
        return _half_cosine((step - warmup) / max(total - warmup, 1))
    raise ValueError(f"unknown schedule {kind!r}")


def _onecycle(step: int, total: int, warmup: float) -> float:
    if step < warmup:
        return ONECYCLE_START + (1 - ONECYCLE_START) * (1 - _half_cosine(step / warmup))
    part = (step - warmup) / max(total - 1 - warmup, 1)
    return ONECYCLE_END + (1 - ONECYCLE_END) * _half_cosine(min(part, 1.0))


def _half_cosine(part: float) -> float:
    """Return the value of a half cosine that decreases from 1 at 0 to 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * part))


def ema_decay(decay: float, step: int) -> float:
    """Return the decay at a step (from 0): at most (1 + step) / (4 + step).

    With a fixed decay, the average would still contain the first weights at the end of a short
    run. With this limit it covers at most a third of the steps so far.
    """
    return min(decay, (1 + step) / (4 + step))
