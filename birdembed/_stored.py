"""A tensor as a weights file stores it, before names and shapes are checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from birdembed._core import WeightsError

#: What can be widened or narrowed to float32.
FLOATS = ("F32", "F16", "BF16", "F64")


@dataclass(frozen=True)
class StoredTensor:
    """One tensor: its dtype by safetensors' name, and its values.

    NumPy has no bfloat16, so BF16 is held as uint16 bit patterns. The array may be a strided view
    into a storage that other tensors share: nothing is copied before the shape has been checked.
    """

    dtype: str
    array: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.array.shape

    def float32(self, name: str) -> np.ndarray:
        """Return the values as an aligned C-contiguous float32 array of the same shape.

        Raises
        ------
        WeightsError
            The dtype is no floating-point one; the message begins with `name`.
        """
        if self.dtype not in FLOATS:
            raise WeightsError(
                f"{name} has dtype {self.dtype}, expected one of {', '.join(FLOATS)}"
            )
        values = self.array
        if self.dtype == "BF16":
            # bfloat16 is the upper half of a float32.
            values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return np.require(values, dtype=np.float32, requirements=["C", "A"])
