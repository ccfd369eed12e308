"""Tensors stored in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from birdembed import _core
from birdembed._core import WeightsError
from birdembed.weights.int8 import LARGEST_SCALE, SCALE, from_int8

#: Dtypes that can be converted to float32.
FLOATS = ("F32", "F16", "BF16", "F64")


def all_finite(array: np.ndarray) -> bool:
    """Return whether a C-contiguous float32 or float16 array has no NaN or infinity."""
    return _core.all_finite(array.reshape(-1))


def not_finite(arrays: Mapping[str, np.ndarray]) -> str | None:
    """Return the name of the first array with NaN or infinity, or None if all are finite."""
    for name, array in arrays.items():
        if not all_finite(np.ascontiguousarray(array, np.float32)):
            return name
    return None


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a file: its dtype (named as in safetensors) and its values.

    NumPy has no bfloat16, so BF16 is stored as uint16 bit patterns. The array may be a strided view
    of a storage shared with other tensors; nothing is copied before the shape has been checked.
    Weights in 8 bits (I8) have `scales`, one per filter.
    """

    dtype: str
    array: np.ndarray
    scales: StoredTensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.array.shape

    def floats(self, name: str) -> np.ndarray:
        """Return the values as an aligned C-contiguous array of the same shape.

        It is float16 if the values are stored so, because the core reads float16, and otherwise
        float32.

        Raises
        ------
        WeightsError
            The dtype is not floating-point, or a value is NaN or infinite (which the network would
            hide, because its ReLUs turn NaN into 0). The message starts with `name`.
        """
        if self.scales is not None:
            return self._from_int8(name, self.scales)
        if self.dtype not in FLOATS:
            raise WeightsError(
                f"{name} has dtype {self.dtype}, expected one of {', '.join(FLOATS)}"
            )
        values = self.array
        if self.dtype == "BF16":
            # bfloat16 is the upper half of a float32.
            values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
        wanted = np.float16 if self.dtype == "F16" else np.float32
        floats = np.require(values, dtype=wanted, requirements=["C", "A"])
        if not all_finite(floats):
            raise WeightsError(
                f"{name} contains NaN or infinity; the training may have diverged, or the file is "
                "damaged"
            )
        return floats

    def _from_int8(self, name: str, scales: StoredTensor) -> np.ndarray:
        """Return the values of weights in 8 bits."""
        if scales.shape != self.shape[:1]:
            raise WeightsError(
                f"{name} has {scales.shape} scales for weights of shape {self.shape}; "
                "it needs one for each filter"
            )
        steps = scales.float32(f"{name}{SCALE}")
        if (np.abs(steps) > LARGEST_SCALE).any():
            raise WeightsError(f"{name}{SCALE}: a scale is too large; the file is damaged")
        return from_int8(self.array, steps)

    def float32(self, name: str) -> np.ndarray:
        """Return the result of `floats` as float32."""
        return self.floats(name).astype(np.float32, copy=False)
