"""Read and write safetensors files through the safetensors library."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from birdembed._core import WeightsError
from birdembed._files import replacing
from birdembed._stored import StoredTensor


def _damaged(path: str | os.PathLike[str], error: Exception) -> WeightsError:
    return WeightsError(
        f"{os.fspath(path)}: not a whole safetensors file ({error}); get or write the file again"
    )


def _read_bfloat16(path: str | os.PathLike[str]) -> dict[str, StoredTensor]:
    # The library's NumPy side needs ml_dtypes for bfloat16; its raw side hands out bytes.
    import safetensors

    with open(path, "rb") as file:
        entries = safetensors.deserialize(file.read())
    numpy_types = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8", "I64": "<i8"}
    return {
        name: StoredTensor(
            entry["dtype"],
            np.frombuffer(entry["data"], numpy_types.get(entry["dtype"], "u1")).reshape(
                entry["shape"] if entry["dtype"] in numpy_types else -1
            ),
        )
        for name, entry in entries
    }


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, StoredTensor]:
    """Read every tensor of a safetensors file.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    dict of str to StoredTensor
        In the file's order.

    Raises
    ------
    WeightsError
        The file is truncated, damaged or no safetensors file.
    """
    import safetensors

    try:
        with safetensors.safe_open(path, framework="np") as file:
            names = list(file.keys())
            dtypes = {name: file.get_slice(name).get_dtype() for name in names}
            if "BF16" not in dtypes.values():
                return {name: StoredTensor(dtypes[name], file.get_tensor(name)) for name in names}
        return _read_bfloat16(path)
    except (safetensors.SafetensorError, TypeError, ValueError, AttributeError) as error:
        # Dtypes that NumPy lacks (float8) surface as the three others.
        raise _damaged(path, error) from error


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the free-text metadata of a safetensors file.

    Raises
    ------
    WeightsError
        The file is truncated, damaged or no safetensors file.
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
    """Write tensors to a safetensors file, whole or not at all.

    Parameters
    ----------
    path : str or Path
        Written under a temporary name in the same folder, then renamed.
    tensors : mapping of str to numpy.ndarray
        C-contiguous arrays.
    metadata : mapping of str to str, optional
        Free text for the header. ``format: pt`` is always added: transformers asks for it.

    Raises
    ------
    OSError
        The target cannot be written; the error names it.
    """
    import safetensors
    from safetensors.numpy import save_file

    with replacing(path) as temporary:
        try:
            save_file(dict(tensors), temporary, {"format": "pt", **(metadata or {})})
        except safetensors.SafetensorError as error:
            raise OSError(f"cannot be written: {error}") from error
