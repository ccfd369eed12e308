"""Cache embeddings on disk, keyed by the content of the images.

There is one file per model and precision, `FINGERPRINT.rows` or `FINGERPRINT-bfloat16.rows`: a
header, then records of a fixed size. Records are only appended, several per write, under a lock. A
process that is killed leaves at most one incomplete record at the end; the next writer removes it
and readers ignore it. Each record has a checksum; a record that does not match is ignored with a
warning. Failures are not cached: a file that could not be read is tried again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import warnings
import weakref
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed._core import BirdembedError
from birdembed.base.files import file_state, lock, path_text, regular, sha256_of_file
from birdembed.images.sources import unpacked

_MAGIC = b"birdembed rows 1\n"
_NAMED = struct.calcsize("<20s64s")  # bytes of magic and fingerprint
_HEADER = struct.Struct("<20s64sI8xI")  # magic, fingerprint, dim, checksum: 100 bytes
_KEY_BYTES = 32
_DECODER_BYTES = 12
_MOST_NUMBERS = 2**20  # per row; a NumPy dtype cannot exceed 2**31 bytes


def content_key(image: Any) -> bytes | None:
    """Return the SHA-256 of the content of an image, or None if it cannot be computed.

    A path and the bytes of that file have the same key.
    """
    image = unpacked(image)
    if isinstance(image, (str, os.PathLike)):
        try:
            return sha256_of_file(image)
        except (OSError, ValueError):  # also a path that no file can have
            return None  # the error is reported when the file is read again for embedding
    if isinstance(image, (bytes, bytearray, memoryview)):
        return hashlib.sha256(image).digest()
    if isinstance(image, np.ndarray):
        digest = hashlib.sha256(f"array {image.dtype.str} {image.shape}\n".encode())
        digest.update(np.ascontiguousarray(image).data)
        return digest.digest()
    return None


def state_of(image: Any) -> tuple[int, int, int] | None:
    """Return what changes if the file of an image is written to; None for an image in memory."""
    image = unpacked(image)
    if isinstance(image, (str, os.PathLike)):
        with contextlib.suppress(OSError, ValueError):  # also a path that no file can have
            return file_state(os.stat(image))
    return None


class EmbeddingCache:
    """Caches the embeddings of one model in a folder.

    Parameters
    ----------
    folder : str or Path
        Created if it does not exist. Several models and processes can share it.
    fingerprint : str
        Fingerprint of the model.
    precision : str
        Precision of the embeddings. Each precision has its own file, so that the result of a
        build does not depend on the content of the cache.

    Raises
    ------
    OSError
        The folder cannot be created or written.
    ValueError
        The path has a NUL character.
    """

    def __init__(
        self, folder: str | os.PathLike[str], fingerprint: str, precision: str = "float32"
    ):
        self.fingerprint, self.precision = fingerprint, precision
        suffix = "" if precision == "float32" else f"-{precision}"
        place = Path(path_text(folder))
        self.path = place / f"{fingerprint[:32]}{suffix}.rows"
        self.damaged = 0
        self._places: dict[bytes, list[int]] = {}
        self._fd = -1
        place.mkdir(parents=True, exist_ok=True)
        self._dim = self._read_header()
        if self._dim is not None:
            self._read_keys(self._record(self._dim))

    def _header(self, dim: int) -> bytes:
        """Return the header of the file for rows of `dim` numbers."""
        name = self.fingerprint.encode()[:64]
        start = _HEADER.pack(_MAGIC, name, dim, 0)[:-4]
        return start + struct.pack("<I", zlib.crc32(start))

    def _record(self, dim: int) -> np.dtype[Any]:
        """Return the layout of a record for rows of `dim` numbers."""
        return np.dtype(
            [
                ("key", f"V{_KEY_BYTES}"),
                ("decoder", f"S{_DECODER_BYTES}"),
                ("row", "<f4", (dim,)),
                ("checksum", "<u4"),
            ]
        )

    def _read_header(self) -> int | None:
        """Return the number of dimensions, or None if there is no (valid) file."""
        try:
            with open(self.path, "rb", opener=regular) as file:
                header = file.read(_HEADER.size)
        except FileNotFoundError:
            return None
        if len(header) == _HEADER.size:
            dim = int(_HEADER.unpack(header)[2])
            if 0 < dim <= _MOST_NUMBERS and header == self._header(dim):
                return dim
        if header and not self._header(0)[:_NAMED].startswith(header):  # or an unfinished write
            self._set_aside(header)
        return None

    def _set_aside(self, header: bytes) -> None:
        """Rename the file with this damaged header, unless another process has replaced it."""
        aside = self.path.with_suffix(".damaged")
        try:
            with open(self.path, "rb", opener=regular) as file:
                lock(file.fileno(), wait=True)
                if file.read(_HEADER.size) != header:
                    return
                if not os.path.samestat(os.fstat(file.fileno()), os.stat(self.path)):
                    return
                os.replace(self.path, aside)
        except FileNotFoundError:
            return
        warnings.warn(
            f"{self.path}: the header is damaged; the file was renamed to {aside.name} and its "
            "embeddings are computed again",
            stacklevel=4,
        )

    def _read_keys(self, layout: np.dtype[Any]) -> None:
        """Remember the position of the record of each key.

        The file is not mapped: a file that another program cuts would end this process.
        """
        self._fd = regular(os.fspath(self.path), os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd).atexit = False
        end = os.fstat(self._fd).st_size - layout.itemsize
        for place, at in enumerate(range(_HEADER.size, end + 1, layout.itemsize)):
            key = os.pread(self._fd, _KEY_BYTES, at)
            self._places.setdefault(key, []).append(place)

    def __len__(self) -> int:
        """Return the number of images in the cache when it was opened."""
        return len(self._places)

    def get(self, key: bytes) -> tuple[NDArray[np.float32], str] | None:
        """Return the cached vector `(dim,)` and its decoder, or None."""
        for place in reversed(self._places.get(key, ())):
            assert self._dim is not None
            layout = self._record(self._dim)
            data = os.pread(self._fd, layout.itemsize, _HEADER.size + place * layout.itemsize)
            if len(data) == layout.itemsize:
                record = np.frombuffer(data, layout)[0]
                if zlib.crc32(data[:-4]) == record["checksum"]:
                    decoder = record["decoder"].decode("ascii", "replace")
                    return np.array(record["row"], np.float32), decoder
            self.damaged += 1
            if self.damaged == 1:
                warnings.warn(
                    f"{self.path}: record {place} is damaged; it is computed again",
                    stacklevel=3,
                )
        return None

    def put(
        self, keys: Sequence[bytes], rows: NDArray[np.float32], decoders: Sequence[str]
    ) -> None:
        """Append rows `(len(keys), dim)`; they are on disk when this returns."""
        if not len(keys):
            return
        dim = rows.shape[1]
        records = np.zeros(len(keys), self._record(dim))
        for record, key, row, decoder in zip(records, keys, rows, decoders, strict=True):
            record["key"], record["row"] = key, row
            record["decoder"] = decoder.encode("ascii", "replace")
            record["checksum"] = zlib.crc32(record.tobytes()[:-4])
        with self._locked() as fd:
            size = os.fstat(fd).st_size
            if size < _HEADER.size:
                os.ftruncate(fd, 0)
                _write_all(fd, self._header(dim))
                size = _HEADER.size
                self._dim = dim
            elif self._dim is None:  # another process created the file
                self._dim = self._read_header()
            if self._dim != dim:
                raise BirdembedError(
                    f"{self.path}: the cache has {self._dim} dimensions, got {dim}; delete the file"
                )
            torn = (size - _HEADER.size) % records.itemsize
            if torn:
                os.ftruncate(fd, size - torn)
            try:
                _write_all(fd, records.tobytes())
            except OSError:
                os.ftruncate(fd, size - torn)  # a full disk gets its space back
                raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Open the file for appending, under a lock."""
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            lock(fd, wait=True)
            yield fd
        finally:
            os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    """Write all bytes; `write` may take only some of them per call."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
