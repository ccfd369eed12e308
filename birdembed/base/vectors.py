"""Check embeddings, and compute on their rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from birdembed.base.checks import check_not_masked
from birdembed.base.text import error_text

_FLOATS = (np.float16, np.float32, np.float64)


def as_vectors(
    value: ArrayLike, name: str, *, one: bool = True
) -> tuple[NDArray[np.float32], bool]:
    """Return `value` as a C-contiguous `(n, dim)` float32 array, and whether it was 1-d.

    Parameters
    ----------
    value
        `(n, dim)` array of floats, or `(dim,)` if `one` is true.
    name
        Name of the argument, for error messages.
    one
        Whether a single vector `(dim,)` is allowed.

    Raises
    ------
    TypeError
        The dtype is not float16, float32 or float64.
    ValueError
        The array does not have two dimensions (or one, if that is allowed), or a number is too
        large for float32.
    """
    array = as_array(value, name)
    if array.dtype.type not in _FLOATS:
        raise TypeError(
            f"{name} must hold float32 (float64 and float16 are converted), got {array.dtype}"
        )
    single = array.ndim == 1
    if array.ndim != 2 and not (single and one):
        wanted = "1 or 2 dimensions" if one else "2 dimensions, (n, dim)"
        raise ValueError(f"{name} must have {wanted}, got {array.ndim} (shape {array.shape})")
    if single:
        array = array[np.newaxis]
    with np.errstate(over="ignore"):
        vectors = np.require(array, np.float32, ["C", "A"])
    if array.dtype == np.float64:
        _check_range(array, vectors, name)
    return vectors, single


def _check_range(wide: NDArray[np.float64], vectors: NDArray[np.float32], name: str) -> None:
    """Raise a ValueError for a finite number that became infinity in float32."""
    rows = np.flatnonzero(~finite_rows(vectors))
    large = rows[(np.isinf(vectors[rows]) & np.isfinite(wide[rows])).any(axis=1)]
    if len(large):
        raise ValueError(
            f"{name}: row {large[0]} has a number that is too large for float32 (above "
            f"{np.finfo(np.float32).max:.2g}); divide the row by its length"
        )


def as_array(value: Any, name: str) -> NDArray[Any]:
    """Return an array, a tensor or rows in a list as an array.

    Raises
    ------
    TypeError
        It has a type that NumPy does not know, such as bfloat16 of torch.
    ValueError
        Rows have different lengths, or values are masked.
    """
    for part in (value, *(value if isinstance(value, (list, tuple)) else ())):
        check_not_masked(name, part)
    if hasattr(value, "detach"):  # a tensor of torch, which may have gradients
        value = value.detach()
    try:
        return np.asarray(value)
    except (TypeError, RuntimeError) as error:  # a type or a device of torch
        raise TypeError(f"{name} cannot become a NumPy array: {error_text(error)}") from error
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise ValueError(f"{name} cannot become a NumPy array: {error_text(error)}") from error
        raise ValueError(f"{name} has rows of different lengths") from error


def finite_rows(vectors: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of the rows without NaN and infinity."""
    return np.asarray(np.isfinite(vectors).all(axis=1))


def check_finite(vectors: NDArray[Any], name: str) -> None:
    """Raise a ValueError with the number of the first row that has NaN or infinity."""
    finite = finite_rows(vectors)
    if not finite.all():
        raise ValueError(f"{name}: row {int(finite.argmin())} contains NaN or infinity; remove it")


def normalized(vectors: np.ndarray) -> np.ndarray:
    """Return the rows scaled to length 1 in float32; zero rows stay zero."""
    return unit_rows(vectors).astype(np.float32)


def softmax(logits: np.ndarray, dtype: DTypeLike = np.float64) -> np.ndarray:
    """Return probabilities along the last axis, float32, computed in the type `dtype`."""
    wide = logits.astype(dtype)
    odds = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return (odds / odds.sum(axis=-1, keepdims=True)).astype(np.float32)


def unit_rows(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Return the rows scaled to length 1 in float64; zero rows stay zero."""
    wide = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(lengths > 0, lengths, 1))
