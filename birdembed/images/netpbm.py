"""Limit the comments of Netpbm files, and scale samples that Pillow scales one by one."""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_STRIP = 4 << 20  # number of pixels to read at a time
#: Bytes of a header, which Pillow reads byte by byte. Real ones have a few lines.
HEADER = 64 << 10
#: Comments between numbers as text. Pillow copies up to 1 MB for each of them.
COMMENTS = 1000
_MAGIC = re.compile(rb"P[0-6fy]")
_COMMENT = re.compile(rb"#[^\r\n]*[\r\n]?")


def check_header(file: BinaryIO) -> None:
    """Raise a ValueError for a Netpbm file whose header takes Pillow long; keep the position."""
    at = file.tell()
    head = file.read(HEADER)
    file.seek(at)
    if len(head) < HEADER or not _MAGIC.match(head):
        return
    # Like Pillow, leave out comments with the ends of their lines, even within a number.
    text = _COMMENT.sub(b"", head)
    fields = 3 if text[:2] in (b"P1", b"P4") else 4  # the kind, the sizes and the maximum
    found = text.split(None, fields)
    if len(found) < fields or (len(found) == fields and not text[-1:].isspace()):
        raise ValueError(f"the header of this Netpbm file is longer than {HEADER >> 10} KB")


def check_comments(content: bytes) -> None:
    """Raise a ValueError for numbers as text with more comments than `COMMENTS`."""
    if sum(1 for _ in _COMMENT.finditer(content)) > COMMENTS:
        raise ValueError(f"a Netpbm file with more than {COMMENTS} comments")


def is_plain(image: Any) -> bool:
    """Return whether an opened file has its samples as numbers in text."""
    return decoder_of(image) == "ppm_plain"


def is_scaled(image: Any) -> bool:
    """Return whether the samples of an opened file have another maximum than their type."""
    return decoder_of(image) == "ppm" and image.mode in ("L", "I", "RGB")


def decoder_of(image: Any) -> str:
    """Return the name of the decoder that Pillow uses for an opened file, or ""."""
    return str(image.tile[0][0]) if image.tile else ""


def decode_scaled(image: Any) -> NDArray[np.uint8]:
    """Decode an opened file for which `is_scaled` is true: (h, w, 3) uint8.

    Raises
    ------
    ValueError
        The file is truncated.
    """
    _, _, offset, (_, most) = image.tile[0]
    table = _table(most)
    kind = np.dtype("u1" if most < 256 else ">u2")
    width, height = image.size
    channels = len(image.getbands())
    rgb = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP // width)
    image.fp.seek(offset)
    for y in range(0, height, rows):
        shape = (min(rows, height - y), width, channels)
        size = int(np.prod(shape)) * kind.itemsize
        data = image.fp.read(size)
        if len(data) < size:
            raise ValueError("image file is truncated")
        rgb[y : y + rows] = table[np.frombuffer(data, kind).reshape(shape)]
    return rgb


def _table(most: int) -> NDArray[np.uint8]:
    """Return the 8-bit value of each sample, when `most` is white.

    Samples of two bytes are scaled to 16 bits first, of which the high byte is used, as in any
    image of 16 bits.
    """
    if most < 256:
        return np.minimum(np.rint(np.arange(256) / most * 255), 255).astype(np.uint8)
    deep = np.minimum(np.rint(np.arange(65536) / most * 65535), 65535)
    return (deep.astype(np.uint16) >> 8).astype(np.uint8)
