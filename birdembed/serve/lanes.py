"""Separate threads for ordinary photos and for photos that take long to decode."""

from __future__ import annotations

import re
from typing import Any

from birdembed.images.pillow_open import opened
from birdembed.serve.batcher import Batcher, embedder

_LARGE = 48_000_000  # pixels times cost times scans of a JPEG: about half a second
_LARGE_PENDING = 8  # decoded one at a time, with up to 2 GB
# Formats whose decoding time only depends on the number of pixels, compared with a JPEG's.
_COSTS = dict.fromkeys("BMP DIB TIFF PPM TGA".split(), 1)
_COSTS |= {"WEBP": 2, "HEIF": 2, "AVIF": 2, "JPEG2000": 4}
_IN_WORDS = (b"P1", b"P2", b"P3")  # PPM with numbers as text, which Pillow reads in Python
_PNG = re.compile(rb"\x89PNG\r\n\x1a\n....IHDR(....)(....)", re.DOTALL)
_GIF = re.compile(rb"GIF8[79]a")
_FRAME = re.compile(rb"\xff{1,9}[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]...(..)(..)", re.DOTALL)
_SEGMENT = re.compile(rb"\xff{1,9}[\xc4\xcc\xdb-\xfe](..)", re.DOTALL)
_SEGMENTS = 500  # of a JPEG before its frame; a profile or a preview in 64 kB pieces needs some 100


class Lanes:
    """Two batchers, so that photos that take long to decode do not delay the others.

    Parameters
    ----------
    model : Model
        Model that embeds the photos.
    max_batch, max_pending, wait_seconds
        See `Batcher`; for ordinary photos.
    """

    def __init__(self, model: Any, max_batch: int, max_pending: int, wait_seconds: float):
        embed = embedder(model)
        self.ordinary = Batcher(
            embed, max_batch=max_batch, max_pending=max_pending, wait_seconds=wait_seconds
        )
        self.large = Batcher(
            embed, max_batch=1, max_pending=min(_LARGE_PENDING, max_pending), wait_seconds=0
        )

    @property
    def pending(self) -> int:
        """The number of photos that are waiting or being computed."""
        return self.ordinary.pending + self.large.pending

    def lane(self, data: bytes) -> Batcher:
        """Return the batcher for an encoded image."""
        return self.large if takes_long(data) else self.ordinary

    async def close(self) -> None:
        """Close both batchers."""
        await self.ordinary.close()
        await self.large.close()


def takes_long(data: bytes) -> bool:
    """Return whether an encoded image may take long to decode, from its header.

    The formats of the core are not given to Pillow, which walks through any number of segments in
    Python; the core does so without delaying other threads.
    """
    if data.startswith(b"\xff\xd8"):
        scans = max(1, data.count(b"\xff\xda"))
        return _too_large(_jpeg_pixels(data) * scans)
    png = _PNG.match(data)
    if png:
        return _too_large(int.from_bytes(png[1], "big") * int.from_bytes(png[2], "big"))
    if _GIF.match(data):
        return _too_large(
            int.from_bytes(data[6:8], "little") * int.from_bytes(data[8:10], "little")
        )
    try:
        with opened(data) as image:
            width, height = image.size
            cost = _COSTS.get(image.format)
            if cost is None or data.startswith(_IN_WORDS):
                return True
    except Exception:  # an error of a plugin; if unknown, assume that it takes long
        return True
    return _too_large(width * height * cost)


def _too_large(work: int) -> bool:
    """Return whether pixels times cost take long; 0 is unknown."""
    return not 0 < work <= _LARGE


def _jpeg_pixels(data: bytes) -> int:
    """Return the pixels of a JPEG; 0 if its frame is not within the first `_SEGMENTS` segments."""
    at = 2
    for _ in range(_SEGMENTS):
        frame = _FRAME.match(data, at)
        if frame:
            return int.from_bytes(frame[1], "big") * int.from_bytes(frame[2], "big")
        segment = _SEGMENT.match(data, at)
        if not segment:
            return 0
        at = segment.start(1) + int.from_bytes(segment[1], "big")
    return 0
