"""Open files with Pillow, within the limits of the C core instead of Pillow's own."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from birdembed.images import heif

MAX_PIXELS = 200_000_000  # csrc/image/image.h has the same
MAX_BLOCKS = 64 << 20  # csrc/image/jpeg_scan.c has the same
#: Of Pillow's formats those that pictures come in. Others run programs on what they are given (EPS:
#: Ghostscript), or hold no pictures.
FORMATS = (
    "JPEG MPO PNG GIF BMP DIB WEBP TIFF PPM HEIF AVIF JPEG2000 TGA ICO ICNS PCX PSD QOI SGI SUN DDS"
).split()
PILLOWS = 1024 * 1024 * 1024 // 4 // 3  # PIL.Image.MAX_IMAGE_PIXELS as Pillow sets it

_SCAN = re.compile(rb"\xff\xda..(.)", re.DOTALL)  # marker, length, number of components
_lock = threading.Lock()
_at_work = 0  # threads inside our_limit


def check_pixels(width: int, height: int) -> None:
    """Raise ValueError unless an image has at least one pixel and no more than the limit."""
    if width * height > MAX_PIXELS or width * height == 0:
        raise ValueError(f"image of {width}x{height} pixels, the limit is {MAX_PIXELS}")


@contextmanager
def opened(source: str | bytes) -> Iterator[Any]:
    """Open a file, given by its path or its contents, as a PIL image that is not loaded yet."""
    from PIL import Image

    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        if heif.format_of(file.read(heif.HEAD)) == "HEIC":
            heif.register()
        file.seek(0)
        Image.init()
        formats = [name for name in FORMATS if name in Image.OPEN]
        with our_limit(), Image.open(file, formats=formats) as image:
            check_pixels(*image.size)
            if image.format in ("JPEG", "MPO"):
                _check_scans(image, file)
            yield image


@contextmanager
def our_limit() -> Iterator[None]:
    """Lift Pillow's limit to ours while an image is opened and loaded.

    Pillow warns from 89 million pixels on and refuses 179, by a setting that belongs to the whole
    process. So it goes back when the last thread is done, and what a user has set stays.
    """
    global _at_work
    from PIL import Image

    with _lock:
        _at_work += 1
        if Image.MAX_IMAGE_PIXELS == PILLOWS:
            Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        yield
    finally:
        with _lock:
            _at_work -= 1
            if _at_work == 0 and Image.MAX_IMAGE_PIXELS == MAX_PIXELS:
                Image.MAX_IMAGE_PIXELS = PILLOWS


def _check_scans(image: Any, file: io.BufferedIOBase) -> None:
    """Raise ValueError for a JPEG whose scans go over more blocks than the core would allow."""
    width, height = image.size
    at = file.tell()
    file.seek(0)
    components = sum(match[1][0] for match in _SCAN.finditer(file.read()))
    file.seek(at)
    if components * -(-width // 8) * -(-height // 8) > MAX_BLOCKS:
        raise ValueError(f"scans over more than the limit of {MAX_BLOCKS >> 20} million blocks")
