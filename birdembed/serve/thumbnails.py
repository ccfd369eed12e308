"""Smaller copies of the images of an index, which are decoded and encoded again."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from birdembed.images import decoding, pillow
from birdembed.images.files import is_followed
from birdembed.images.pillow_open import opened
from birdembed.images.thumbnails import jpeg
from birdembed.search.index import Index
from birdembed.search.shared_rows import rows_of
from birdembed.serve.batcher import Overloaded

SIDE = 320  # pixels; cards are at most 160 points wide, on screens with two pixels per point
LARGE = 1280  # pixels of the copy that the page opens
_KEPT = {SIDE: 1024, LARGE: 64}  # of some 15 and 250 kB each
_WAITING = 64  # copies that may wait; a page asks for ten, and a browser for six at a time
_COME_BACK = 2  # seconds, for Retry-After


class NoThumbnail(Exception):
    """A row has no thumbnail; the message says why."""


class Thumbnails:
    """The thumbnails of the images of an index, created on first use.

    Parameters
    ----------
    index : Index
        Index with the column `path`.
    photos : Path, optional
        Folder to which the ids are relative, instead of the paths in the index.
    """

    def __init__(self, index: Index, photos: Path | None = None):
        self._rows = rows_of(index)
        self._photos = None if photos is None else photos.resolve()
        self._threads: ThreadPoolExecutor | None = None
        self._waiting = 0
        self._jpeg = {side: lru_cache(n)(partial(self._make, side)) for side, n in _KEPT.items()}

    @property
    def viewable(self) -> bool:
        """Whether the index has the paths of its images; the files may have been moved."""
        return len(self._rows) > 0 and (self._photos is not None or "path" in self._rows.columns)

    async def jpeg(self, row: int, side: int = SIDE) -> bytes:
        """Return the image of a row as JPEG, with a longer side of at most `side`: SIDE or LARGE.

        If the call is cancelled before the image is read, it never is.

        Raises
        ------
        NoThumbnail
            The row or the file does not exist, or the file cannot be read.
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
                self._threads, self._jpeg[side], row
            )
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Drop the images that wait, so that the process ends after those being read."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def path(self, row: int) -> Path:
        """Return the path of the image of a row.

        Raises
        ------
        NoThumbnail
            The index has no path, or the id points outside the folder of images.
        IndexFileError
            The file of the index was overwritten.
        """
        self._rows.check_file()
        if not 0 <= row < len(self._rows):
            raise NoThumbnail(f"the index has no row {row}")
        if self._photos is not None:
            name = str(self._value("id", row))
            path = _resolved(self._photos, name)
            # Links in the folder are its owner's wish, and an index of the folder follows them.
            if not path.is_relative_to(self._photos) and not is_followed(str(self._photos), name):
                raise NoThumbnail("the id points outside the folder of photos")
            return path
        if "path" not in self._rows.columns:
            raise NoThumbnail("the index does not have the paths of its photos")
        path = self._value("path", row)
        if not isinstance(path, str) or not path:
            raise NoThumbnail("the index does not have the path of this photo")
        return Path(path)

    def _value(self, name: str, row: int) -> Any:
        """Return the value of a row in a column."""
        return self._rows.column(name)[row]

    def _make(self, side: int, row: int) -> bytes:
        path = self.path(row)
        if not os.path.isfile(path):  # also False for an invalid file name
            raise NoThumbnail("the photo is no longer at the path in the index")
        try:
            pixels = _reduced(path, side)
        except Exception as error:  # any error of a decoder
            raise NoThumbnail(f"the photo cannot be read: {type(error).__name__}") from error
        small = Image.fromarray(pixels)
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        return jpeg(small)


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
