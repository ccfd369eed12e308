"""Checks of option values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

#: The concentration of mixup's and cutmix's Beta distribution; at this one all shares are near 0.5.
LARGEST_MIX = 1000
#: Two such still add up in the core's 64 bits.
LARGEST_INTEGER = (1 << 62) - 1
MAX_THREADS = 1024  # csrc/base/threads.h has the same


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    if not isinstance(value, (str, type(None))) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_integer(name: str, value: Any, least: int, most: float = math.inf) -> int:
    """Return an int within limits; `LARGEST_INTEGER` is one for all."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if not least <= value <= min(most, LARGEST_INTEGER):
        limits = f"at least {least}" if most == math.inf else f"{least} to {int(most)}"
        raise ValueError(f"{name} must be {limits}, got {value}")
    return int(value)


def check_number(
    name: str, value: Any, least: float, most: float = math.inf, open_above: bool = True
) -> float:
    """Return a finite float within limits."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not least <= value <= most or (open_above and value == most):
        limit = "" if most == math.inf else f" and {'below' if open_above else 'at most'} {most:g}"
        raise ValueError(f"{name} must be finite, at least {least:g}{limit}, got {value}")
    return float(value)


def check_threads(num_threads: int | None) -> int:
    """Return a number of threads, 0 for the default."""
    return 0 if num_threads is None else check_integer("num_threads", num_threads, 1, MAX_THREADS)


def is_missing(value: Any) -> bool:
    """Return whether a value of a table is missing: None, NaN, pandas' NA or NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and value != value


def check_boolean(name: str, value: Any) -> bool:
    """Return a bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


BAD_FILES = ("raise", "skip")
