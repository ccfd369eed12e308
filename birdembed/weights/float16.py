"""Weights in float16."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from birdembed.base.checks import check_choice

#: How `save_pretrained` can store weights.
DTYPES = ("float32", "float16")
_LARGEST = float(np.finfo(np.float16).max)


def check_dtype(dtype: str) -> str:
    """Check the name of a dtype that weights are stored in, and return it.

    Raises
    ------
    ValueError
        It is none of `DTYPES`.
    """
    check_choice("dtype", dtype, DTYPES)
    return dtype


def as_stored(state: Mapping[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Return weights converted to the dtypes they are stored in.

    Vectors (batch norms, the classifier's bias) stay float32: they are half a percent of the file,
    and a running variance may lie where float16 has no numbers, above 65504 or near 0.

    Raises
    ------
    ValueError
        A kernel or matrix has a value that float16 cannot hold.
    """
    if check_dtype(dtype) == "float32":
        return dict(state)
    stored = {}
    for name, array in state.items():
        if array.ndim < 2:
            stored[name] = array
            continue
        largest = max(float(array.max()), -float(array.min()))
        if not largest <= _LARGEST:  # of NaN too
            raise ValueError(
                f"dtype='float16' cannot hold {name}: its largest value is {largest:g}, float16 "
                f"ends at {_LARGEST:g}; save with dtype='float32'"
            )
        stored[name] = array.astype(np.float16)
    return stored


def rounded(state: Mapping[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Return weights as float32, rounded as storing and loading rounds them."""
    return {
        name: array.astype(np.float32, copy=False)
        for name, array in as_stored(state, dtype).items()
    }
