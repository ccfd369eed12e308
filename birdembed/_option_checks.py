"""Checks of options: each returns the value in its plain form or raises, naming the option."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: Sides the network is trained at: multiples of 32 in this range.
SMALLEST, LARGEST, GRID = 96, 384, 32

#: The concentration of mixup's and cutmix's Beta distribution; at this one all shares are near 0.5.
LARGEST_MIX = 1000

#: Two such still add up in the core's 64 bits.
LARGEST_INTEGER = (1 << 62) - 1

MAX_THREADS = 1024  # csrc/base/threads.h has the same


def check_side(size: Any) -> int:
    """Return a side the network can be trained at; ValueError for any other."""
    side = check_integer("image_size", size, 1, 8192)
    if side % GRID or not SMALLEST <= side <= LARGEST:
        raise ValueError(
            f"image_size must be a multiple of {GRID} from {SMALLEST} to {LARGEST}, got {side}"
        )
    return side


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


def check_boolean(name: str, value: Any) -> bool:
    """Return a bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_image_size(value: Any) -> Any:
    """Return None, a side, or pairs of (epochs, side)."""
    if value is None:
        return None
    if not isinstance(value, (list, tuple)):
        return check_side(value)
    pairs = []
    for pair in value:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise ValueError(f"image_size must be pairs of (epochs, size), got {pair!r}")
        pairs.append((check_integer("image_size's epochs", pair[0], 1, 10**6), check_side(pair[1])))
    if not pairs:
        raise ValueError("image_size is empty: expected pairs of (epochs, size)")
    return tuple(pairs)


def check_prefixes(value: Any) -> tuple[str, ...]:
    """Return prefixes of names as a tuple."""
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Sequence) or not all(isinstance(v, str) and v for v in value):
        raise TypeError(f"freeze must be prefixes of parameter names, got {value!r}")
    return tuple(value)


def check_class_weights(value: Any) -> Any:
    """Return "balanced", a dict by name, a tuple or None."""
    if value is None or (isinstance(value, str) and value == "balanced"):
        return value
    if isinstance(value, Mapping):
        return {str(k): check_number("class_weights", v, 0) for k, v in value.items()}
    if isinstance(value, str) or not isinstance(value, (Sequence, np.ndarray)):
        raise TypeError(
            f"class_weights must be 'balanced', numbers or a mapping by name, got {value!r}"
        )
    return tuple(check_number("class_weights", v, 0) for v in value)
