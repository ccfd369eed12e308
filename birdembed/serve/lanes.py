"""Separate threads for ordinary photos and for photos that take long to decode."""

from __future__ import annotations

from typing import Any

from birdembed.images.pillow_open import opened
from birdembed.serve.batcher import Batcher, embedder

_LARGE = 48_000_000  # pixels times cost times scans of a JPEG: about half a second
_LARGE_PENDING = 8  # decoded one at a time, with up to 1.4 GB
# Formats whose decoding time only depends on the number of pixels, compared with a JPEG's.
_COSTS = dict.fromkeys("JPEG MPO PNG GIF BMP DIB TIFF PPM TGA".split(), 1)
_COSTS |= {"WEBP": 2, "HEIF": 2, "AVIF": 2, "JPEG2000": 4}
_IN_WORDS = (b"P1", b"P2", b"P3")  # PPM with numbers as text, which Pillow reads in Python


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
    """Return whether an encoded image may take long to decode, from its header."""
    try:
        with opened(data) as image:
            width, height = image.size
            cost = _COSTS.get(image.format)
            if cost is None or data.startswith(_IN_WORDS):
                return True
    except Exception:  # an error of a plugin; if unknown, assume that it takes long
        return True
    scans = data.count(b"\xff\xda") if data.startswith(b"\xff\xd8") else 1
    return width * height * cost * max(1, scans) > _LARGE
