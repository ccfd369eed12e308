"""Keep decoded training images in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed import _core
from birdembed.images import decoding, sources
from birdembed.images.report import Failure

#: As MAX_SIDE in csrc/python/views.c.
MAX_SIDE = 1 << 20
_SIDES = f"a width and a height of less than {MAX_SIDE:,}"


class _Kept(NamedTuple):
    """The pixels of an image in memory."""

    pixels: NDArray[np.uint8]  # (h, w, 3)
    short_side: int  # short side it was reduced to; 0: as decoded


class ImageStore:
    """A cache of decoded images: decodes files and keeps the pixels while there is room.

    Images are never evicted: each epoch has another order, so evicting the oldest image would not
    help. Caching never changes the pixels of an image.

    Parameters
    ----------
    paths : sequence of str
    cache_bytes : int
        Maximum memory for all cached pixels, in bytes.
    num_threads : int
        Number of decoding threads; 0: the default.

    Attributes
    ----------
    used_bytes : int
        Memory used by the cached pixels, in bytes.
    """

    def __init__(self, paths: Sequence[str], cache_bytes: int, num_threads: int) -> None:
        self._paths = paths
        self._limit = cache_bytes
        self._num_threads = num_threads
        self._kept: dict[int, _Kept] = {}
        self.used_bytes = 0

    def __len__(self) -> int:
        """Return the number of images in memory."""
        return len(self._kept)

    def fetch(
        self, rows: NDArray[np.int64], short_side: int
    ) -> tuple[list[NDArray[np.uint8] | None], list[Failure]]:
        """Return the images at some rows, from memory or from their files.

        Parameters
        ----------
        rows : (n,) int64
            A row may occur several times.
        short_side : int
            Images with a longer short side are reduced to this one (antialiased). 0: no limit.

        Returns
        -------
        images : n arrays (h, w, 3) uint8, None for a file that could not be read
        failures : one for each file that could not be read, in the order of the rows' numbers
        """
        found: dict[int, NDArray[np.uint8] | None] = {}
        wanted: dict[int, sources.Source] = {}
        for row in dict.fromkeys(rows.tolist()):
            kept = self._kept.get(row)
            if kept is not None and _fits(kept, short_side):
                found[row] = kept.pixels
            else:
                # A path that no file can have is a failure here, as it is for `Model.encode`.
                source = sources.source_of(self._paths[row], row)
                if kept is not None and kept.short_side == 0:
                    # Reduce a cached full-size image without decoding the file again.
                    source = source._replace(data=kept.pixels, decoder="array")
                wanted[row] = source
        failures = self._load(found, wanted, short_side)
        return [found[row] for row in rows.tolist()], sorted(failures)

    def read_ahead(self, rows: NDArray[np.int64]) -> None:
        """Ask the operating system to read ahead the files of rows that are not in memory."""
        paths = [self._paths[row] for row in rows.tolist() if row not in self._kept]
        if paths:
            _core.will_need(paths)

    def _load(
        self,
        found: dict[int, NDArray[np.uint8] | None],
        wanted: dict[int, sources.Source],
        short_side: int,
    ) -> list[Failure]:
        failures = [Failure(i, s.name, s.reason) for i, s in wanted.items() if s.data is None]
        found |= {failure.position: None for failure in failures}
        rows = [row for row, source in wanted.items() if source.data is not None]
        given = [source.data for source in wanted.values() if source.data is not None]
        if not given:
            return failures
        images, outcomes = _core.load_images(given, short_side, self._num_threads)
        for i, (kind, reason) in enumerate(outcomes):
            if kind:
                images[i], reason = self._by_pillow(wanted[rows[i]], kind, reason, short_side)
            pixels = images[i]
            if pixels is not None and max(pixels.shape[:2]) >= MAX_SIDE:
                height, width = pixels.shape[:2]
                pixels, reason = None, f"{width} x {height} pixels: training allows {_SIDES}"
            found[rows[i]] = pixels
            if pixels is None:
                failures.append(Failure(rows[i], wanted[rows[i]].name, reason))
            else:
                self._keep(rows[i], pixels, short_side)
        return failures

    def _by_pillow(
        self, source: sources.Source, kind: str, reason: str, short_side: int
    ) -> tuple[NDArray[np.uint8] | None, str]:
        if kind == "memory":
            raise MemoryError(f"{source.name}: {reason}")
        source = decoding.decode_by_pillow(source, kind, reason)
        if source.data is None:
            return None, source.reason
        return _core.load_images([source.data], short_side, 1)[0][0], ""

    def _keep(self, row: int, pixels: Any, short_side: int) -> None:
        before = self._kept.pop(row, None)
        if before is not None:
            self.used_bytes -= before.pixels.nbytes
        if self.used_bytes + pixels.nbytes > self._limit:
            return
        # An image of exactly this size may not have been reduced; it is then decoded again, which
        # costs time but is harmless.
        reduced = short_side > 0 and min(pixels.shape[:2]) == short_side
        self._kept[row] = _Kept(pixels, short_side if reduced else 0)
        self.used_bytes += pixels.nbytes


def _fits(kept: _Kept, short_side: int) -> bool:
    """Return whether a cached image equals the decoded file reduced to `short_side`."""
    if kept.short_side == 0:
        return short_side == 0 or min(kept.pixels.shape[:2]) <= short_side
    return kept.short_side == short_side
