"""Read PyTorch files without executing any code in them.

A pickle contains the names of the functions that rebuild its objects. This reader allows a short
list of names and maps each to a stand-in that only records its arguments; any other name is an
error. Tensors are views until they are used, so optimizer states cost nothing.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from birdembed._core import WeightsError
from birdembed.base.files import regular
from birdembed.base.text import error_text, shortened, shown
from birdembed.weights.pickle_check import check_pickle
from birdembed.weights.tensors import StoredTensor

#: Storage classes of torch: dtype name of safetensors, dtype name of NumPy (bfloat16: its bits).
_STORAGES = {
    "FloatStorage": ("F32", "<f4"),
    "HalfStorage": ("F16", "<f2"),
    "BFloat16Storage": ("BF16", "<u2"),
    "DoubleStorage": ("F64", "<f8"),
    "LongStorage": ("I64", "<i8"),
    "IntStorage": ("I32", "<i4"),
    "ShortStorage": ("I16", "<i2"),
    "CharStorage": ("I8", "<i1"),
    "ByteStorage": ("U8", "<u1"),
    "BoolStorage": ("BOOL", "<u1"),
    "UntypedStorage": ("U8", "<u1"),
}
#: Objects in checkpoints that are not tensors; this reader ignores their values.
_INERT = {
    ("argparse", "Namespace"),
    ("torch", "device"),
    ("torch.serialization", "_get_layout"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
    ("pathlib", "PosixPath"),
}
_TORCH_DTYPES = {
    *("float32", "float64", "float16", "bfloat16", "uint8", "int8", "int16", "int32", "int64"),
    "bool",
}
#: Keys of the state dict in a checkpoint, in the order in which they are tried.
_WRAPPERS = ("model_state_dict", "state_dict", "model")
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


class _Refused(Exception):
    """A pickle uses a name that is not on the list."""


@dataclass
class _Storage:
    """The elements of a torch storage, read on first use."""

    dtype: str
    numpy_type: str
    numel: int
    read: Callable[[], bytes]
    cached: np.ndarray | None = None

    def elements(self) -> np.ndarray:
        if self.cached is None:
            content = self.read()
            if len(content) < self.numel * np.dtype(self.numpy_type).itemsize:
                raise WeightsError(f"a storage has {len(content)} bytes, fewer than its tensors")
            self.cached = np.frombuffer(content, self.numpy_type, self.numel)
        return self.cached


@dataclass
class _Tensor:
    """A tensor as described by a pickle; `view` checks the description."""

    storage: Any
    offset: Any
    size: Any
    stride: Any

    def view(self) -> StoredTensor:
        if not isinstance(self.storage, _Storage):
            raise WeightsError("a tensor has no storage")
        size, stride = self.size, self.stride
        numbers = (self.offset, *size, *stride)
        if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
            raise WeightsError(
                f"a tensor has size {shown(size)}, stride {shown(stride)}, "
                f"offset {shown(self.offset)}"
            )
        last = self.offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if 0 not in size and last >= self.storage.numel:
            raise WeightsError(
                f"a tensor of size {shown(size)} and stride {shown(stride)} reaches beyond the "
                f"{self.storage.numel} elements of its storage"
            )
        if 0 in size:
            return StoredTensor(self.storage.dtype, np.empty(size, self.storage.numpy_type))
        elements = self.storage.elements()[self.offset :]
        strides = [s * elements.itemsize for s in stride]
        return StoredTensor(
            self.storage.dtype,
            np.lib.stride_tricks.as_strided(elements, size, strides, writeable=False),
        )


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> _Tensor:
    # rest: requires_grad, backward_hooks, metadata.
    return _Tensor(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(data: Any, *rest: Any) -> Any:
    return data


class _Call:
    """A function for use by a pickle: it can be called, but not modified."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


def _stand_ins() -> dict[tuple[str, str], Any]:
    """Return new stand-ins by (module, name).

    Each file gets new ones, because a pickle can set attributes of the objects it uses.
    """

    class Mapping(dict):  # type: ignore[type-arg]
        def __setstate__(self, state: Any) -> None:
            pass  # the _metadata of a state_dict

    class Inert:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            pass

        def __setstate__(self, state: Any) -> None:
            pass

        def __setitem__(self, key: Any, value: Any) -> None:
            pass

    allowed: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): Mapping,
        ("torch._utils", "_rebuild_tensor"): _Call(_rebuild_tensor),
        ("torch._utils", "_rebuild_tensor_v2"): _Call(_rebuild_tensor),
        ("torch._utils", "_rebuild_parameter"): _Call(_rebuild_parameter),
        ("torch._utils", "_rebuild_parameter_with_state"): _Call(_rebuild_parameter),
        ("torch", "Size"): _Call(lambda *sizes: tuple(*sizes)),
    }
    for name, types in _STORAGES.items():
        for module in ("torch", "torch.storage", "torch.cuda"):
            allowed[module, name] = types
    for pair in _INERT:
        allowed[pair] = Inert
    for name in _TORCH_DTYPES:
        allowed["torch", name] = Inert
    return allowed


class _Unpickler(pickle.Unpickler):
    """An unpickler that only knows the stand-ins."""

    def __init__(self, file: Any, load_storage: Callable[[Any], _Storage]) -> None:
        super().__init__(file, encoding="utf-8")
        self._allowed = _stand_ins()
        self._load_storage = load_storage

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._allowed[module, name]
        except KeyError:
            raise _Refused(shortened(f"{module}.{name}", 200)) from None

    def persistent_load(self, pid: Any) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise pickle.UnpicklingError(f"unknown persistent id {shown(pid)}")
        return self._load_storage(pid)


def _storage_facts(pid: tuple[Any, ...]) -> tuple[str, str, str, int]:
    """Return (key, dtype, NumPy dtype, number of elements) of a persistent id."""
    _, types, key, _, numel = pid[:5]
    if types not in _STORAGES.values() or not isinstance(key, str) or type(numel) is not int:
        raise pickle.UnpicklingError(f"unknown kind of storage {shown(types)}")
    if numel < 0:
        raise pickle.UnpicklingError(f"storage {shown(key)} has {shown(numel)} elements")
    return key, types[0], types[1], numel


def _stored_member(archive: zipfile.ZipFile, member: str) -> bytes:
    info = archive.getinfo(member)
    if info.compress_type != zipfile.ZIP_STORED:
        # torch.save never compresses, and a small compressed file could expand without limit.
        raise WeightsError(f"its member {shown(member)} is compressed, so not from torch.save")
    return archive.read(info)


def _read_zip(path: str | os.PathLike[str]) -> Any:
    archive = zipfile.ZipFile(path)  # closed with the last storage that refers to it
    names = archive.namelist()
    pickled = next((name for name in names if name.endswith("/data.pkl")), None)
    if pickled is None:
        raise WeightsError("a zip archive without data.pkl, so not from torch.save")
    root = pickled.removesuffix("data.pkl")
    if f"{root}constants.pkl" in names:
        raise WeightsError("a TorchScript archive; save the state_dict() of the module instead")
    if f"{root}byteorder" in names and _stored_member(archive, f"{root}byteorder") != b"little":
        raise WeightsError("written on a big-endian machine")
    if sum(info.file_size for info in archive.infolist()) > os.stat(path).st_size:
        raise WeightsError("its members are larger than the file")
    storages: dict[str, _Storage] = {}

    def load_storage(pid: Any) -> _Storage:
        key, dtype, numpy_type, numel = _storage_facts(pid)
        if key not in storages:
            read = functools.partial(_stored_member, archive, f"{root}data/{key}")
            storages[key] = _Storage(dtype, numpy_type, numel, read)
        return storages[key]

    return _load(io.BytesIO(_stored_member(archive, pickled)), load_storage)


def _load(file: Any, load_storage: Callable[[Any], _Storage]) -> Any:
    """Load a pickle after checking its opcodes."""
    begin = file.tell()
    check_pickle(file)
    file.seek(begin)
    return _Unpickler(file, load_storage).load()


def _read_legacy_storages(file: BinaryIO, storages: dict[str, _Storage]) -> None:
    """Read the storages of a legacy file, which follow its pickles."""
    end = os.fstat(file.fileno()).st_size
    keys = _load(file, _no_storage)
    for key in keys:
        storage = storages[key]
        (numel,) = struct.unpack("<q", file.read(8))
        start, size = file.tell(), numel * np.dtype(storage.numpy_type).itemsize
        if numel != storage.numel or size > end - start:
            raise WeightsError(
                f"storage {shown(key)} should have {storage.numel} elements, but the file says "
                f"{numel} and has {end - start} bytes left"
            )
        storage.cached = np.fromfile(file, storage.numpy_type, numel)


def _no_storage(pid: Any) -> _Storage:
    raise pickle.UnpicklingError("unexpected storage")


def _read_legacy(path: str | os.PathLike[str]) -> Any:
    storages: dict[str, _Storage] = {}

    def load_storage(pid: Any) -> _Storage:
        key, dtype, numpy_type, numel = _storage_facts(pid)
        if len(pid) > 5 and pid[5] is not None:
            raise pickle.UnpicklingError("views of storages (PyTorch before 0.4) are not supported")
        return storages.setdefault(key, _Storage(dtype, numpy_type, numel, lambda: b""))

    with open(path, "rb", opener=regular) as file:
        if _load(file, _no_storage) != _LEGACY_MAGIC:
            raise WeightsError("a pickle, but not from torch.save")
        if _load(file, _no_storage) != _LEGACY_PROTOCOL:
            raise WeightsError("unknown protocol of torch.save")
        system = _load(file, _no_storage)
        if isinstance(system, dict) and not system.get("little_endian", True):
            raise WeightsError("written on a big-endian machine")
        value = _load(file, load_storage)
        _read_legacy_storages(file, storages)
    return value


def _unwrap(value: Any) -> dict[str, _Tensor]:
    """Return the state dict inside a saved object."""
    for _ in range(3):
        if not isinstance(value, dict):
            break
        key = next((k for k in _WRAPPERS if isinstance(value.get(k), dict)), None)
        if key is None:
            break
        value = value[key]
    if not isinstance(value, dict):
        raise WeightsError(f"expected a dict of tensors, got {type(value).__name__}")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise WeightsError(
                f"expected a dict of tensors, bare or under {', '.join(_WRAPPERS)}; "
                f"{shown(name)} is a {type(tensor).__name__}"
            )
    return value


def read_pth(path: str | os.PathLike[str]) -> dict[str, StoredTensor]:
    """Read the tensors of a file written by `torch.save`, without executing code in it.

    Parameters
    ----------
    path : str or Path
        A state dict, or a checkpoint with one under `model_state_dict`, `state_dict` or `model`.

    Returns
    -------
    dict of str to StoredTensor
        Views with the strides and shared storages given in the file.

    Raises
    ------
    WeightsError
        The pickle uses a global that is not on the list (the message names it), or the file is
        truncated, damaged or contains something else.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb", opener=regular) as file:
            read = _read_zip if file.read(4) == b"PK\x03\x04" else _read_legacy
        return {key: tensor.view() for key, tensor in _unwrap(read(path)).items()}
    except _Refused as error:
        raise WeightsError(
            f"{name}: refused, because its pickle uses {error}, which is not a tensor and was not "
            "executed; save only the state_dict() of the model, or use safetensors"
        ) from None
    except WeightsError as error:
        raise WeightsError(f"{name}: {error_text(error)}") from error
    except Exception as error:
        # The directory of a zip file may contain negative offsets.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        # A damaged pickle can fail in any way: opcodes on wrong types, short reads, ...
        raise WeightsError(
            f"{name}: truncated or damaged, or not a .pth file ({type(error).__name__}: "
            f"{error_text(error)})"
        ) from error
