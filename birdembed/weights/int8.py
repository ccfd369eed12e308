"""Store the kernels of convolutions in 8 bits, with a scale per filter."""

from __future__ import annotations

import numpy as np

#: Ending of the name of a tensor that contains the scales of another one.
SCALE = "_scale"
_LARGEST = 127
_FLOAT32 = np.finfo(np.float32)
#: Limits of a weight and of a scale. A code is at least -128, so no product of the two overflows.
LARGEST_WEIGHT, LARGEST_SCALE = float(_FLOAT32.max) / 2, float(_FLOAT32.max) / 128


def in_int8(kernel: np.ndarray) -> bool:
    """Return whether a tensor is stored in 8 bits: the kernel of any convolution but the first.

    The first reads the 3 channels of an image. Its kernel is small and is stored in float16.
    """
    return kernel.ndim == 4 and kernel.shape[1] != 3


def to_int8(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes (int8, the shape of `kernel`) and scales (filters,) float32 of a kernel.

    A code times the scale of its filter is the rounded weight. The largest code of a filter is
    127, as in the core, which computes in int8 with these codes (or, without AVX512_VNNI, rounds
    them to 7 bits). A scale has 16 significant bits, so that 127 times the scale is exact: a kernel
    that is stored a second time gets the same codes and scales. Filters of weights that are all
    subnormal, below 1.2e-38, become zeros, because their scales would have fewer bits.
    """
    rows = kernel.reshape(len(kernel), -1).astype(np.float32, copy=False)
    largest = np.abs(rows).max(axis=1)
    scales = np.where(largest < _FLOAT32.tiny, np.float32(0), largest) / np.float32(_LARGEST)
    scales = ((scales.view(np.uint32) + np.uint32(0xFF)) & np.uint32(0xFFFFFF00)).view(np.float32)
    codes = np.rint(rows / np.where(scales == 0, np.float32(1), scales)[:, None])
    return codes.astype(np.int8).reshape(kernel.shape), scales


def from_int8(codes: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return the weights of `to_int8` as float32."""
    return codes * scales.reshape(-1, *[1] * (codes.ndim - 1))
