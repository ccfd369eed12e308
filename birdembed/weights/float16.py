"""Store weights in float16."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from birdembed.base.checks import check_choice

#: Formats in which `save_pretrained` can store weights.
DTYPES = ("float32", "float16")
_LARGEST = float(np.finfo(np.float16).max)


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
    """Return weights converted to the dtypes in which they are stored.

    Vectors (batch norms, bias of the classifier) stay float32: they take half a percent of the
    file, and a running variance may be outside the range of float16 (above 65504 or near 0).

    Raises
    ------
    ValueError
        A kernel or matrix has a value that float16 cannot hold.
    """
    if check_dtype(dtype) == "float32":
        return {name: array.astype(np.float32, copy=False) for name, array in state.items()}
    stored = {}
    for name, array in state.items():
        if array.ndim < 2:
            stored[name] = array
            continue
        largest = max(float(array.max()), -float(array.min()))
        if not largest <= _LARGEST:  # also true for NaN
            raise ValueError(
                f"dtype='float16' cannot store {name}: its largest value is {largest:g}, the limit "
                f"of float16 is {_LARGEST:g}; save with dtype='float32'"
            )
        stored[name] = array.astype(np.float16)
    return stored


def rounded(state: Mapping[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Return weights as float32, rounded as if they were stored and loaded."""
    return {
        name: array.astype(np.float32, copy=False)
        for name, array in as_stored(state, dtype).items()
    }
