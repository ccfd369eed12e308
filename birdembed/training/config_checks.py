"""Checks of training options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from birdembed.base.checks import check_integer, check_number
from birdembed.base.text import composed, shown

#: Image sizes for training: multiples of 32 in this range.
SMALLEST, LARGEST, GRID = 96, 384, 32


def check_side(size: Any) -> int:
    """Return the image size if it is valid for training; raise a ValueError if not."""
    side = check_integer("image_size", size, 1, 8192)
    if side % GRID or not SMALLEST <= side <= LARGEST:
        raise ValueError(
            f"image_size must be a multiple of {GRID} from {SMALLEST} to {LARGEST}, got {side}"
        )
    return side


def check_image_size(value: Any) -> Any:
    """Check an image size: None, a number, or pairs of (epochs, size)."""
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
        raise ValueError("image_size is empty; expected pairs of (epochs, size)")
    return tuple(pairs)


def check_prefixes(value: Any) -> tuple[str, ...]:
    """Return prefixes of names as a tuple."""
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Sequence) or not all(isinstance(v, str) and v for v in value):
        raise TypeError(f"freeze must be prefixes of parameter names, got {value!r}")
    return tuple(value)


def check_class_weights(value: Any) -> Any:
    """Check class weights: "balanced", a dict by name, a sequence or None."""
    if value is None or (isinstance(value, str) and value == "balanced"):
        return value
    if isinstance(value, Mapping):
        weights: dict[str, float] = {}
        for given, weight in value.items():
            name = composed(str(given))  # as the names of the classes are
            number = check_number("class_weights", weight, 0)
            if weights.setdefault(name, number) != number:
                raise ValueError(f"class_weights has two weights for class {shown(name)}")
        return weights
    listed = value.ndim == 1 if isinstance(value, np.ndarray) else isinstance(value, Sequence)
    if isinstance(value, str) or not listed:
        raise TypeError(
            f"class_weights must be 'balanced', numbers or a mapping by name, got {value!r}"
        )
    return tuple(check_number("class_weights", v, 0) for v in value)
