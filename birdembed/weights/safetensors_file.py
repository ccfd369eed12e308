"""Read and write safetensors files."""

from __future__ import annotations

import json
import math
import mmap
import os
import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from birdembed._core import WeightsError
from birdembed.base.files import regular, replacing
from birdembed.base.text import error_text
from birdembed.weights.int8 import SCALE
from birdembed.weights.tensors import StoredTensor

#: BF16 is stored as its bits, because NumPy has no bfloat16.
_NUMPY_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8", "I64": "<i8", "I8": "i1"}

#: How the library ends the text of an error of the system.
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


def _damaged(path: str | os.PathLike[str], error: Exception) -> WeightsError:
    what = error_text(error)
    return WeightsError(
        f"{os.fspath(path)}: not a complete safetensors file ({what}); download or write it again"
    )


def _map(path: str | os.PathLike[str]) -> dict[str, StoredTensor]:
    """Map the tensors of a file whose header was checked by the library."""
    with open(path, "rb", opener=regular) as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        shape, numpy_type = entry["shape"], _NUMPY_TYPES.get(entry["dtype"])
        if numpy_type is None or 0 in shape:  # float8 and similar types are not supported
            array = np.broadcast_to(np.zeros((), numpy_type or "u1"), shape)
        else:
            offset = 8 + length + entry["data_offsets"][0]
            array = np.frombuffer(whole, numpy_type, math.prod(shape), offset).reshape(shape)
        tensors[name] = StoredTensor(entry["dtype"], array)
    return _with_scales(tensors)


def _with_scales(tensors: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Return the tensors, those in 8 bits together with their scales."""
    scales = {name + SCALE for name, tensor in tensors.items() if tensor.dtype == "I8"}
    return {
        name: replace(tensor, scales=tensors.get(name + SCALE)) if tensor.dtype == "I8" else tensor
        for name, tensor in tensors.items()
        if name not in scales
    }


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, StoredTensor]:
    """Read all tensors of a safetensors file.

    The library checks the header; the values are then mapped, because the library would copy them
    (46 ms for a ResNet-50, of the few hundred ms that a new process needs for its first vector).

    Parameters
    ----------
    path : str or Path
        The file. It may be replaced (by renaming) at any time, but not overwritten in place.

    Returns
    -------
    dict of str to StoredTensor
        Read-only views of the mapped file.

    Raises
    ------
    WeightsError
        The file is truncated or damaged, or not a safetensors file.
    """
    import safetensors

    try:
        with safetensors.safe_open(path, framework="np"):
            pass
        return _map(path)
    except OSError as error:
        raise WeightsError(
            f"{os.fspath(path)}: cannot be read: {error.strerror or error}"
        ) from error
    except (safetensors.SafetensorError, ValueError) as error:
        raise _damaged(path, error) from error


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the free-text metadata of a safetensors file.

    Raises
    ------
    WeightsError
        The file is truncated or damaged, or not a safetensors file.
    """
    import safetensors

    try:
        with safetensors.safe_open(path, framework="np") as file:
            return dict(file.metadata() or {})
    except safetensors.SafetensorError as error:
        raise _damaged(path, error) from error


def write_safetensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors to a safetensors file, atomically.

    Parameters
    ----------
    path : str or Path
        Written under a temporary name in the same folder, then renamed.
    tensors : mapping of str to numpy.ndarray
        C-contiguous arrays.
    metadata : mapping of str to str, optional
        Metadata for the header. Default: ``format: pt``, which transformers needs. At most one
        entry, because the library writes several in a random order.

    Raises
    ------
    OSError
        The file cannot be written. The message names it.
    """
    import safetensors
    from safetensors.numpy import save_file

    with replacing(path) as temporary:
        try:
            save_file(dict(tensors), temporary, dict(metadata or {"format": "pt"}))
        except safetensors.SafetensorError as error:
            number = _SYSTEM_ERROR.search(str(error))
            if number is None:
                raise OSError(f"cannot be written: {error}") from error
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
