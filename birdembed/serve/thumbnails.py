"""Smaller copies of the images of an index, each decoded and encoded anew."""

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
from birdembed.images.pillow_open import opened
from birdembed.images.thumbnails import jpeg
from birdembed.search.index import Index
from birdembed.search.shared_rows import rows_of

SIDE = 320  # pixels; cards are at most 160 wide, on screens of two pixels a point
LARGE = 1280  # pixels of the copy that the page opens
_KEPT = {SIDE: 1024, LARGE: 64}  # of some 15 and 250 kB each


class NoThumbnail(Exception):
    """A row has no thumbnail; the message says why."""


class Thumbnails:
    """The thumbnails of an index's images, made when first asked for.

    Parameters
    ----------
    index : Index
        A row's image is at its `path`.
    photos : Path, optional
        Folder that the ids are relative to, instead of the paths in the index.
    """

    def __init__(self, index: Index, photos: Path | None = None):
        self._rows = rows_of(index)
        self._photos = None if photos is None else photos.resolve()
        # Two at a time: an image decodes to up to 600 MB.
        self._threads = ThreadPoolExecutor(2, "birdembed-thumbnails")
        self._jpeg = {side: lru_cache(n)(partial(self._make, side)) for side, n in _KEPT.items()}

    @property
    def viewable(self) -> bool:
        """Whether the index says where its images are; they may be gone from there."""
        return len(self._rows) > 0 and (self._photos is not None or "path" in self._rows.columns)

    async def jpeg(self, row: int, side: int = SIDE) -> bytes:
        """Return a row's image as a JPEG file, its longer side at most `side`: SIDE or LARGE.

        Raises
        ------
        NoThumbnail
            There is no such row, no file, or it cannot be read.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._jpeg[side], row
        )

    def path(self, row: int) -> Path:
        """Return the path of a row's image.

        Raises
        ------
        NoThumbnail
            The index does not say, or its id leads out of the folder of images.
        """
        if not 0 <= row < len(self._rows):
            raise NoThumbnail(f"the index has no row {row}")
        if self._photos is not None:
            path = _resolved(self._photos, self._value("id", row))
            if not path.is_relative_to(self._photos):
                raise NoThumbnail("the id leads out of the folder of photos")
            return path
        if "path" not in self._rows.columns:
            raise NoThumbnail("the index does not say where its photos are")
        path = self._value("path", row)
        if not isinstance(path, str) or not path:
            raise NoThumbnail("the index does not say where this photo is")
        return Path(path)

    def _value(self, name: str, row: int) -> Any:
        """Return what a row has in a column."""
        return self._rows.column(name)[row]

    def _make(self, side: int, row: int) -> bytes:
        path = self.path(row)
        if not os.path.isfile(path):  # False too for what no file can be called
            raise NoThumbnail("the photo is no longer where the index says")
        try:
            pixels = _reduced(path, side)
        except Exception as error:  # a decoder's
            raise NoThumbnail(f"the photo cannot be read: {type(error).__name__}") from error
        small = Image.fromarray(pixels)
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        return jpeg(small)


def _resolved(folder: Path, name: Any) -> Path:
    """Return the path of what is below a folder, links followed."""
    try:
        return (folder / str(name)).resolve()
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, links in a ring
        raise NoThumbnail("no file can have this id as its name") from None


def _reduced(path: Path, side: int) -> np.ndarray:
    """Decode an image, a JPEG only to about the size that is needed: a tenth of the time."""
    try:
        with opened(str(path)) as image:
            if image.format == "JPEG":
                image.draft("RGB", (2 * side, 2 * side))
                return pillow.to_rgb(image)
    except Exception:
        pass  # what Pillow refuses the core may read
    return decoding.decode(str(path))[0]
