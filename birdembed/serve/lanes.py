"""Ordinary photos and those that take long to decode, each with a thread of their own."""

from __future__ import annotations

from typing import Any

from birdembed.images.pillow_open import opened
from birdembed.serve.batcher import Batcher, embedder

_LARGE = 48_000_000  # pixels times scans of a JPEG: about half a second
_LARGE_PENDING = 8  # of which one is decoded at a time, to up to 1.4 GB
# Formats whose decoders need no more than the pixels ask for.
_PLAIN = frozenset("JPEG MPO PNG GIF BMP DIB WEBP TIFF PPM HEIF AVIF JPEG2000 TGA".split())


class Lanes:
    """Two batchers: what takes long to decode is embedded beside the rest and keeps none waiting.

    Parameters
    ----------
    model : Model
        Embeds the photos.
    max_batch, max_pending, wait_seconds
        As of `Batcher`, for ordinary photos.
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
        """How many photos wait or are computed."""
        return self.ordinary.pending + self.large.pending

    def lane(self, data: bytes) -> Batcher:
        """Return the batcher for an encoded image."""
        return self.large if takes_long(data) else self.ordinary

    async def close(self) -> None:
        """Close both."""
        await self.ordinary.close()
        await self.large.close()


def takes_long(data: bytes) -> bool:
    """Return whether an encoded image may take long to decode, by its header alone."""
    try:
        with opened(data) as image:
            width, height = image.size
            if image.format not in _PLAIN:
                return True
    except Exception:  # a plugin's; what cannot be told is not taken for quick
        return True
    scans = data.count(b"\xff\xda") if data.startswith(b"\xff\xd8") else 1
    return width * height * max(1, scans) > _LARGE
