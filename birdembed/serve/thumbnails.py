"""Smaller copies of the images of an index, which are decoded and encoded again."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from birdembed.images import decoding, pillow
from birdembed.images.files import is_followed
from birdembed.images.pillow_open import opened
from birdembed.images.thumbnails import jpeg
from birdembed.search.index import Index
from birdembed.search.mapped_file import IndexFileError
from birdembed.search.rows import Rows
from birdembed.search.shared_rows import rows_of
from birdembed.serve.batcher import Overloaded

SIDE = 320  # pixels; cards are at most 160 points wide, on screens with two pixels per point
LARGE = 1280  # pixels of the copy that the page opens
_KEPT = {SIDE: 1024, LARGE: 64}  # of some 15 and 250 kB each
_WAITING = 64  # copies that may wait; a page asks for ten, and a browser for six at a time
_COME_BACK = 2  # seconds, for Retry-After


class NoThumbnail(Exception):
    """A row has no thumbnail; the message says why."""


class Copy(NamedTuple):
    """A smaller copy of the image of a row."""

    jpeg: bytes
    address: str  # relative to that of the row, see `address`


def mark(rows: Rows, row: int) -> str:
    """Return a short text that stands for the id of a row, for addresses.

    The number of a row stands for another image when rows before it have been removed.
    """
    name = str(rows.ids[row]).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(name, digest_size=8).hexdigest()


def address(rows: Rows, row: int) -> str:
    """Return the end of the address of a row's copies, which stands for no other image."""
    return f"{row}?of={mark(rows, row)}"


class Thumbnails:
    """The thumbnails of the images of an index, created on first use and when a file changes.

    Parameters
    ----------
    index : Index
        Index with the column `path`.
    photos : Path, optional
        Folder to which the ids are relative, instead of the paths in the index.
    """

    def __init__(self, index: Index, photos: Path | None = None):
        self._index = index
        self._photos = None if photos is None else photos.resolve()
        self._threads: ThreadPoolExecutor | None = None
        self._waiting = 0
        self._jpeg = {side: lru_cache(n)(partial(self._make, side)) for side, n in _KEPT.items()}

    @property
    def viewable(self) -> bool:
        """Whether the index has the paths of its images; the files may have been moved."""
        try:
            rows = rows_of(self._index)
        except IndexFileError:
            return False
        return len(rows) > 0 and (self._photos is not None or "path" in rows.columns)

    async def copy(self, row: int, side: int = SIDE, of: str | None = None) -> Copy:
        """Return the image of a row as JPEG, with a longer side of at most `side`: SIDE or LARGE.

        If the call is cancelled before the image is read, it never is.

        Parameters
        ----------
        row, side : int
            The row, and the longer side.
        of : str, optional
            The `mark` of the row when it was found.

        Raises
        ------
        NoThumbnail
            The row or the file does not exist, the file cannot be read, or the row has another
            mark than `of`.
        Overloaded
            Too many images are waiting.
        """
        if self._waiting >= _WAITING:
            raise Overloaded(
                f"the server is busy: {self._waiting} photos are being opened; try again in "
                f"{_COME_BACK} s",
                _COME_BACK,
            )
        if self._threads is None:
            # Two at a time, because decoding an image can take up to 2 GB.
            self._threads = ThreadPoolExecutor(2, "birdembed-thumbnails")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._copy, row, side, of
            )
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Drop the images that wait, so that the process ends after those being read."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def _copy(self, row: int, side: int, of: str | None) -> Copy:
        rows = rows_of(self._index)  # once: rows may be removed in the meantime
        if not 0 <= row < len(rows):
            raise NoThumbnail(f"the index has no row {row}")
        if of not in (None, mark(rows, row)):
            raise NoThumbnail(f"row {row} of the index is another photo now; search again")
        path = self._path(rows, row)
        return Copy(self._jpeg[side](path, _state(path)), address(rows, row))

    def _path(self, rows: Rows, row: int) -> Path:
        """Return the path of the image of a row.

        Raises
        ------
        NoThumbnail
            The index has no path, or the id points outside the folder of images.
        """
        if self._photos is not None:
            name = str(rows.ids[row])
            path = _resolved(self._photos, name)
            # Links in the folder are its owner's wish, and an index of the folder follows them.
            if not path.is_relative_to(self._photos) and not is_followed(str(self._photos), name):
                raise NoThumbnail("the id points outside the folder of photos")
            return path
        if "path" not in rows.columns:
            raise NoThumbnail("the index does not have the paths of its photos")
        given: Any = rows.columns["path"][row]  # older files may hold numbers
        if not isinstance(given, str) or not given:
            raise NoThumbnail("the index does not have the path of this photo")
        return Path(given)

    def _make(self, side: int, path: Path, _: tuple[int, ...]) -> bytes:
        """Make the copy of a file, which is kept as long as the file has the same state."""
        try:
            pixels = _reduced(path, side)
        except Exception as error:  # any error of a decoder
            raise NoThumbnail(f"the photo cannot be read: {type(error).__name__}") from error
        small = Image.fromarray(pixels)
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        return jpeg(small)


def _state(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is written or replaced."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a zero byte
        found = None
    if found is None or not stat.S_ISREG(found.st_mode):
        raise NoThumbnail("the photo is no longer at the path in the index")
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _resolved(folder: Path, name: str) -> Path:
    """Return the path of a name below a folder, following links."""
    try:
        return (folder / name).resolve()
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, circular links
        raise NoThumbnail("this id is not a valid file name") from None


def _reduced(path: Path, side: int) -> np.ndarray:
    """Decode an image; a JPEG only to about the needed size, which takes a tenth of the time."""
    try:
        with opened(str(path)) as image:
            if image.format == "JPEG":
                image.draft("RGB", (2 * side, 2 * side))
                return pillow.to_rgb(image)
    except Exception:
        pass  # the core may read what Pillow cannot
    return decoding.decode(str(path))[0]
