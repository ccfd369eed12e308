"""Check option values."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from birdembed.base.text import shown

#: Maximum concentration of the Beta distribution of mixup and cutmix; all shares are then near 0.5.
LARGEST_MIX = 1000
#: The sum of two such numbers still fits into 64 bits in the core.
LARGEST_INTEGER = (1 << 62) - 1
MAX_THREADS = 1024  # the same as in csrc/base/threads.h


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raise a ValueError unless the value is one of the choices."""
    if not isinstance(value, (str, type(None))) or value not in choices:
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, choices))}, got {shown(value)}"
        )


def check_integer(name: str, value: Any, least: int, most: float = math.inf) -> int:
    """Return an int, checked against the given limits and `LARGEST_INTEGER`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {shown(value)}")
    if not least <= value <= min(most, LARGEST_INTEGER):
        most = min(most, LARGEST_INTEGER if value > least else math.inf)
        limits = f"at least {least}" if most == math.inf else f"{least} to {int(most)}"
        raise ValueError(f"{name} must be {limits}, got {shown(value)}")
    return int(value)


def check_number(
    name: str, value: Any, least: float, most: float = math.inf, open_above: bool = True
) -> float:
    """Return a finite float, checked against the given limits."""
    if not _is_number(value):
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    too_large = isinstance(value, (int, np.integer)) and abs(int(value)) > sys.float_info.max
    if too_large or not least <= value <= most or (open_above and value == most):
        limit = "" if most == math.inf else f" and {'below' if open_above else 'at most'} {most:g}"
        raise ValueError(f"{name} must be finite, at least {least:g}{limit}, got {shown(value)}")
    return float(value)


def check_positive(name: str, value: Any, most: float = math.inf) -> float:
    """Return a finite float above 0 and at most `most`."""
    if _is_number(value) and not 0 < value <= min(most, sys.float_info.max):
        limit = "finite" if most == math.inf else f"at most {most:g}"
        raise ValueError(f"{name} must be above 0 and {limit}, got {shown(value)}")
    return check_number(name, value, 0)


def check_share(name: str, value: Any) -> float:
    """Return a number above 0 and below 1."""
    if _is_number(value) and not 0 < value < 1:
        raise ValueError(f"{name} must be between 0 and 1, got {shown(value)}")
    return check_number(name, value, 0, 1)


def _is_number(value: Any) -> bool:
    """Return whether a value is a number; a boolean is not."""
    numbers = (int, float, np.integer, np.floating)
    return isinstance(value, numbers) and not isinstance(value, bool)


def check_threads(num_threads: int | None) -> int:
    """Return the checked number of threads; 0 for the default."""
    return 0 if num_threads is None else check_integer("num_threads", num_threads, 1, MAX_THREADS)


def is_missing(value: Any) -> bool:
    """Return whether a table value is missing: None, NaN, or NA or NaT of pandas."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and value != value


def check_not_masked(name: str, array: Any) -> None:
    """Raise a ValueError if values of an array are masked, because the mask would be ignored."""
    module = sys.modules.get("numpy.ma")  # without it there are no such arrays
    if module is not None and isinstance(array, module.MaskedArray) and module.is_masked(array):
        raise ValueError(f"{name} has masked values; fill them first, as with .filled(0)")


def check_boolean(name: str, value: Any) -> bool:
    """Return a checked bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def check_string(name: str, value: Any) -> str:
    """Return a checked string."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {shown(value)}")
    return value


BAD_FILES = ("raise", "skip")


def check_model(value: Any) -> Any:
    """Return a model; raise a TypeError for an object that cannot encode images."""
    if hasattr(value, "encode") and hasattr(value, "fingerprint"):
        return value
    name = shown(value) if isinstance(value, str) else ""
    raise TypeError(
        f"model must be a model, such as load_model({name}) returns, got {shown(value)}"
    )
