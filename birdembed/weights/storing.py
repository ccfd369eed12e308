"""Convert weights to the number formats in which they are stored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from birdembed.base.checks import check_choice
from birdembed.weights.int8 import LARGEST_WEIGHT, SCALE, from_int8, in_int8, to_int8

#: Formats in which `save_pretrained` can store weights.
DTYPES = ("float32", "float16", "int8")
_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


def check_dtype(dtype: str) -> str:
    """Check and return the name of a dtype for stored weights.

    Raises
    ------
    ValueError
        The name is not in `DTYPES`.
    """
    check_choice("dtype", dtype, DTYPES)
    return dtype


def as_stored(state: Mapping[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Return the tensors of a file that stores weights in a dtype.

    float16 applies to kernels and matrices. int8 applies to the kernels that `in_int8` names, whose
    scales get a name of their own; other kernels and matrices are float16. Vectors (batch norms,
    bias of the classifier) stay float32: they take half a percent of the file, and a running
    variance may be outside the range of float16 (above 65504 or near 0).

    Raises
    ------
    ValueError
        A kernel or matrix has a value that the format cannot hold.
    """
    if check_dtype(dtype) == "float32":
        return {name: array.astype(np.float32, copy=False) for name, array in state.items()}
    stored = {}
    for name, array in state.items():
        if array.ndim < 2:
            stored[name] = array
        elif dtype == "int8" and in_int8(array):
            _check_largest(name, array, dtype, LARGEST_WEIGHT)
            stored[name], stored[name + SCALE] = to_int8(array)
        else:
            _check_largest(name, array, dtype, _LARGEST_FLOAT16)
            stored[name] = array.astype(np.float16)
    return stored


def _check_largest(name: str, array: np.ndarray, dtype: str, limit: float) -> None:
    """Raise a ValueError if a value is above the limit in size, infinite or NaN."""
    largest = max(float(array.max()), -float(array.min()))
    if not largest <= limit:  # also true for NaN
        raise ValueError(
            f"dtype={dtype!r} cannot store {name}: its largest value is {largest:g}, the limit "
            f"is {limit:g}; save with dtype='float32'"
        )


def rounded(state: Mapping[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Return weights as float32, rounded as if they were stored and loaded.

    Raises
    ------
    ValueError
        See `as_stored`.
    """
    stored = as_stored(state, dtype)
    return {
        name: from_int8(stored[name], stored[name + SCALE])
        if name + SCALE in stored
        else stored[name].astype(np.float32, copy=False)
        for name in state
    }
