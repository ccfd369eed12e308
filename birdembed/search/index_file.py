"""Write and read index files.

A column of numbers is `NAME.values`. Strings are a UTF-8 blob (`NAME.bytes`) and int64 offsets
(`NAME.offsets`, one more than there are rows). If some strings are missing, `NAME.present` marks
those that exist. The embeddings come first, aligned to 64 bytes, so that they can be searched
in the mapped file.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from birdembed.base.files import KeptFile, path_text, regular, replacing
from birdembed.base.json_text import json_object, json_text
from birdembed.base.makers import Maker
from birdembed.base.text import shown
from birdembed.search.columns import Column
from birdembed.search.mapped_file import IndexFileError, MappedFile
from birdembed.search.packed_strings import PackedStrings
from birdembed.search.rows import Rows

FORMAT = "birdembed-index-1"
_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ALIGNMENT = 64
_HEADER_LIMIT = 100 << 20
_MOST_AXES = 2  # of a tensor in an index
_METADATA = "metadata."  # prefix of the names of metadata columns


def write_index(path: str | os.PathLike[str], rows: Rows) -> None:
    """Write rows to a file, atomically.

    Parameters
    ----------
    path : str or Path
        Written under a temporary name in the same folder, then renamed.
    rows : Rows
        Vectors, ids, labels and columns.

    Raises
    ------
    OSError
        The file cannot be written. The message names it, and an existing file is unchanged.
    """
    where = path_text(path)
    if os.path.isdir(where):
        raise IsADirectoryError(f"cannot write an index to {where}: it is a folder")
    tensors = _tensors(rows)
    info = {} if rows.fingerprint is None else {"fingerprint": rows.fingerprint}
    if rows.maker is not None:
        info["model"] = rows.maker.name
        if rows.maker.path is not None:
            info["model_path"] = rows.maker.path
    header: dict[str, Any] = {"__metadata__": {"format": FORMAT, **info}}
    for name, tensor in tensors:  # in column order
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape)}
    # After the embeddings, wide types come first, so that all tensors are aligned.
    tensors[1:] = sorted(tensors[1:], key=lambda item: -item[1].dtype.itemsize)
    at = 0
    for name, tensor in tensors:
        header[name]["data_offsets"] = [at, at + tensor.nbytes]
        at += tensor.nbytes
    text = json_text(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in tensors:
            if tensor.size:
                contiguous = np.ascontiguousarray(tensor)
                file.write(contiguous.reshape(-1).view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())


def _tensors(rows: Rows) -> list[tuple[str, NDArray[Any]]]:
    """Return the names and arrays of a file, the embeddings first."""
    columns: dict[str, Column] = {"id": rows.ids, "label": rows.labels}
    columns |= {f"{_METADATA}{name}": column for name, column in rows.columns.items()}
    tensors: list[tuple[str, NDArray[Any]]] = [("embeddings", rows.vectors)]
    for name, column in columns.items():
        if isinstance(column, np.ndarray):
            tensors.append((f"{name}.values", column))
            continue
        packed = PackedStrings.pack(column)
        tensors.append((f"{name}.offsets", packed.offsets))
        if packed.present is not None:
            tensors.append((f"{name}.present", packed.present))
        tensors.append((f"{name}.bytes", packed.blob))
    return tensors


def read_index(path: str | os.PathLike[str], *, mapped: bool = True) -> Rows:
    """Read the rows of a file written by `write_index`.

    Parameters
    ----------
    path : str or Path
        The file. A `KeptFile` is read as it was when it was made.
    mapped : bool
        Map the vectors and the text instead of reading them; vectors are read when they are
        searched. Columns of numbers are always read.

    Returns
    -------
    Rows
        With strings as `PackedStrings`.

    Raises
    ------
    IndexFileError
        The file is not an index, or is truncated or damaged.
    OSError
        The file cannot be read.
    """
    name = path_text(path)
    opened = path.open() if isinstance(path, KeptFile) else open(name, "rb", opener=regular)
    with opened:
        header, data, file = _read_tensors(name, opened, mapped)
    info = header.pop("__metadata__", None)
    if not isinstance(info, dict) or info.get("format") != FORMAT or "embeddings" not in header:
        raise IndexFileError(f"{name}: a safetensors file, but not a birdembed index")
    tensors = _checked_tensors(name, header, data)
    vectors = tensors.pop("embeddings")
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise _damaged(name, "embeddings are not a float32 table")
    columns = _columns(name, tensors, len(vectors))
    for needed in ("id", "label"):
        if needed not in columns or isinstance(columns[needed], np.ndarray):
            raise IndexFileError(f"{name}: the index has no column {needed}")
    ids, labels = columns.pop("id"), columns.pop("label")
    others = {key.removeprefix(_METADATA): column for key, column in columns.items()}
    if not isinstance(info.get("fingerprint"), (str, type(None))):
        raise _damaged(name, "the fingerprint is not a string")
    maker = _maker(info)
    return Rows.of(vectors, ids, labels, others, info.get("fingerprint"), file, maker)


def _maker(info: Mapping[str, Any]) -> Maker | None:
    """Return the record of the model, or None for a file of an earlier version."""
    name, path = info.get("model"), info.get("model_path")
    if not isinstance(name, str) or not name:
        return None
    return Maker(name, path if isinstance(path, str) else None)


def _columns(name: str, tensors: Mapping[str, NDArray[Any]], n: int) -> dict[str, Column]:
    """Return the columns stored in the tensors, with `n` rows each."""
    columns: dict[str, Column] = {}
    for tensor in tensors:
        column, _, part = tensor.rpartition(".")
        if not column:
            raise _damaged(name, f"{shown(tensor)} belongs to no column")
        if part == "offsets":
            columns[column] = _strings(name, column, tensors)
        elif part == "values":
            # Copied, as the offsets of strings are: reading a mapped array after the file was cut
            # ends the process, and these arrays are given to the user.
            columns[column] = np.array(tensors[tensor])
            if tensors[tensor].ndim != 1:
                raise _damaged(name, f"{shown(column)} is not a column")
    for column, values in columns.items():
        if len(values) != n:
            raise _damaged(name, f"{shown(column)} has {len(values)} rows, the embeddings have {n}")
    return columns


def _damaged(name: str, what: str) -> IndexFileError:
    """Return the error for a damaged file."""
    return IndexFileError(f"{name}: truncated or damaged index ({what}); build the index again")


def _read_tensors(
    name: str, file: BinaryIO, mapped: bool
) -> tuple[dict[str, Any], NDArray[np.uint8], MappedFile | None]:
    """Return the header, the bytes after it, and the mapped file."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, _HEADER_LIMIT):
        raise IndexFileError(
            f"{name}: not an index, or truncated ({size} bytes, header of {length})"
        )
    try:
        header = json_object(file.read(length))
    except ValueError as error:
        raise IndexFileError(
            f"{name}: not an index, its header is not a JSON object ({error})"
        ) from error
    if not mapped:
        return header, np.fromfile(file, np.uint8), None
    watched = MappedFile(name, file)
    whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return header, np.frombuffer(whole, np.uint8)[8 + length :], watched


def _checked_tensors(
    name: str, header: Mapping[str, Any], data: NDArray[np.uint8]
) -> dict[str, NDArray[Any]]:
    """Return the tensors as views of `data`, after checking every number of the header."""
    tensors: dict[str, NDArray[Any]] = {}
    at = 0
    for key, entry in sorted(header.items(), key=_first_offset):
        try:
            dtype = _DTYPES[entry["dtype"]]
            shape = _integers(entry["shape"])
            begin, end = _integers(entry["data_offsets"])
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(name, f"entry {shown(key)} of the header") from error
        if len(shape) > _MOST_AXES:
            raise _damaged(name, f"{shown(key)} has {len(shape)} axes")
        size = dtype.itemsize
        for n in shape:
            size *= n
        if min(shape, default=0) < 0 or begin != at or end - begin != size:
            raise _damaged(name, f"offsets of {shown(key)} do not match its shape")
        at = end
        if end <= len(data):
            tensors[key] = data[begin:end].view(dtype).reshape(shape)
    if at != len(data):
        raise _damaged(name, f"expected {at} bytes of data, found {len(data)}")
    return {key: tensors[key] for key in header}


def _integers(values: Any) -> tuple[int, ...]:
    """Return a list of integers as a tuple; raise a TypeError for anything else."""
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise TypeError("expected a list of integers")
    return tuple(values)


def _first_offset(item: tuple[str, Any]) -> tuple[int, int]:
    """Return the sort key of a tensor: its position in the file; entries without one go first."""
    try:
        begin, end = _integers(item[1]["data_offsets"])
        return begin, end
    except (KeyError, TypeError, ValueError):
        return -1, -1


def _strings(name: str, column: str, tensors: Mapping[str, NDArray[Any]]) -> PackedStrings:
    """Return a column of strings after checking its offsets."""
    offsets = np.array(tensors[f"{column}.offsets"])
    blob = tensors.get(f"{column}.bytes")
    present = tensors.get(f"{column}.present")
    if blob is None or blob.dtype != np.uint8 or blob.ndim != 1:
        raise _damaged(name, f"{shown(column)} has no text")
    if (
        offsets.dtype != np.int64
        or offsets.ndim != 1
        or len(offsets) < 1
        or offsets[0] != 0
        or offsets[-1] != len(blob)
        or (offsets[1:] < offsets[:-1]).any()  # a difference could overflow
    ):
        raise _damaged(name, f"invalid string offsets of {shown(column)}")
    if present is not None and (present.dtype != bool or present.shape != (len(offsets) - 1,)):
        raise _damaged(name, f"invalid mask of missing strings of {shown(column)}")
    return PackedStrings(blob, offsets, None if present is None else np.array(present), name)
