"""Open files with Pillow, with the size limits of the C core instead of those of Pillow."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from birdembed.base.files import regular
from birdembed.images import heif
from birdembed.images.netpbm import (
    check_comments,
    check_header,
    decoder_of,
    is_plain,
    is_scaled,
)

MAX_PIXELS = 200_000_000  # the same as in csrc/image/image.h
MAX_BLOCKS = 64 << 20  # the same as in csrc/image/jpeg_scan.c
#: The image formats of Pillow to use. Others run programs on their input (EPS: Ghostscript) or are
#: not images.
FORMATS = (
    "JPEG MPO PNG GIF BMP DIB WEBP TIFF PPM HEIF AVIF JPEG2000 TGA ICO ICNS PCX PSD QOI SGI SUN DDS"
).split()
#: Maximum number of pixels of formats that Pillow decodes in Python, some microseconds a pixel.
_IN_PYTHON = 4_000_000
_MEMORY = 2 << 30  # bytes that decoding may take, the same as in csrc/image/image.h
#: Bytes per pixel at the peak of decoding (measured, for images that are also rotated), where
#: `MAX_PIXELS` would take more than `_MEMORY`.
_BYTES = {"WEBP": 22, "JPEG2000": 25, "AVIF": 15}
_WIDE = 12  # the same for samples of 32 bits, which is also how Pillow keeps 16-bit PGM
#: Maximum number of pixels of a PNG or JPEG 2000 within an icon, whose header says up to 1024x1024.
_ICON_PIXELS = 1024 * 1024
PILLOWS = 1024 * 1024 * 1024 // 4 // 3  # the default of PIL.Image.MAX_IMAGE_PIXELS

_SCAN = re.compile(rb"\xff\xda..(.)", re.DOTALL)  # marker, length, number of components
_ICONS = (b"\0\0\1\0", b"icns")  # how ICO and ICNS begin
_WITHIN = re.compile(rb"IHDR(.{4})(.{4})|\xff\x4f\xff\x51.{4}(.{4})(.{4})", re.DOTALL)  # PNG, JP2
_lock = threading.Lock()
_at_work = 0  # threads inside our_limit
_tolerant = False  # whether the user lets Pillow read half a file


def check_pixels(width: int, height: int) -> None:
    """Raise a ValueError unless an image has at least one pixel and at most `MAX_PIXELS`."""
    if width * height > MAX_PIXELS or width * height == 0:
        raise ValueError(f"image of {width}x{height} pixels, the limit is {MAX_PIXELS}")


@contextmanager
def opened(source: str | bytes) -> Iterator[Any]:
    """Open a file (path or content) as a PIL image without loading its pixels."""
    from PIL import Image

    with _stream(source) as file:
        head = file.read(heif.HEAD)
        if heif.format_of(head) == "HEIC":
            heif.register()
        if head.startswith(_ICONS):  # Pillow decodes what is in an ICO when it opens it
            _check_icons(_content(file))
        file.seek(0)
        check_header(file)
        Image.init()
        formats = [name for name in FORMATS if name in Image.OPEN]
        with our_limit(), _open(file, formats) as image:
            check_pixels(*image.size)
            _check_work(image, file)
            yield image


def _open(file: BinaryIO, formats: list[str]) -> Any:
    """Return a PIL image, of which only the header is read."""
    from PIL import Image

    try:
        return Image.open(file, formats=formats)
    except MemoryError:  # a header is small, so its sizes must be wrong
        raise ValueError("its header says that it needs more memory than there is") from None


def _stream(source: str | bytes) -> BinaryIO:
    """Return a file, given by its path or its content, as a stream."""
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb", opener=regular)


@contextmanager
def our_limit() -> Iterator[None]:
    """Apply our limits instead of those of Pillow while an image is opened and loaded.

    Pillow warns above 89 million pixels and raises an error above 179 million. A size limit set by
    the user is kept. With `LOAD_TRUNCATED_IMAGES`, which many programs set for their own files,
    Pillow would return half a photo as if it were whole; so it is switched off. Both are global
    for the process, so they are restored when the last thread is done.
    """
    global _at_work, _tolerant
    from PIL import Image, ImageFile

    with _lock:
        _at_work += 1
        if ImageFile.LOAD_TRUNCATED_IMAGES:
            _tolerant, ImageFile.LOAD_TRUNCATED_IMAGES = True, False
        if Image.MAX_IMAGE_PIXELS == PILLOWS:
            Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        yield
    finally:
        with _lock:
            _at_work -= 1
            if _at_work == 0 and Image.MAX_IMAGE_PIXELS == MAX_PIXELS:
                Image.MAX_IMAGE_PIXELS = PILLOWS
            if _at_work == 0 and _tolerant:
                _tolerant, ImageFile.LOAD_TRUNCATED_IMAGES = False, True


def _check_work(image: Any, file: BinaryIO) -> None:
    """Raise a ValueError for a file that takes far more time or memory than its size tells."""
    width, height = image.size
    kind, most = _limit_of(image)
    if width * height > most:
        raise ValueError(f"image of {width}x{height} pixels, the limit for {kind} is {most}")
    if image.format in ("JPEG", "MPO"):
        _check_scans(width, height, _content(file))
    if is_plain(image):
        check_comments(_content(file))


def _limit_of(image: Any) -> tuple[str, int]:
    """Return the format of an opened file and its maximum number of pixels."""
    if image.format in ("QOI", "DDS"):
        return image.format, _IN_PYTHON
    if decoder_of(image).startswith("ppm") and not is_scaled(image):
        return "PPM with numbers as text", _IN_PYTHON
    if image.format in _BYTES:
        return image.format, _MEMORY // _BYTES[image.format]
    if image.mode in ("I", "F") and not is_scaled(image):
        return f"{image.format} in mode {image.mode}", _MEMORY // _WIDE
    return image.format, MAX_PIXELS


def _content(file: BinaryIO) -> bytes:
    """Return the whole content of a file, and keep its position."""
    at = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(at)
    return content


def _check_icons(content: bytes) -> None:
    """Raise a ValueError for an icon with an image that is much larger than an icon can be."""
    for match in _WITHIN.finditer(content):
        width, height = (int.from_bytes(side, "big") for side in match.groups() if side is not None)
        if width * height > _ICON_PIXELS:
            raise ValueError(f"an icon with an image of {width}x{height} pixels")


def _check_scans(width: int, height: int, content: bytes) -> None:
    """Raise a ValueError for a JPEG whose scans have more blocks than the core allows."""
    components = sum(match[1][0] for match in _SCAN.finditer(content))
    if components * -(-width // 8) * -(-height // 8) > MAX_BLOCKS:
        raise ValueError(f"its scans have more blocks than the limit, {MAX_BLOCKS >> 20} million")
