"""Measure the activation ranges that int8 needs."""

from __future__ import annotations

from typing import Any

import numpy as np

from birdembed.base.checks import check_threads
from birdembed.base.progress import progress_bar
from birdembed.images import batches as batches_
from birdembed.images.preprocess import largest_pixel
from birdembed.images.sources import Inputs
from birdembed.model.snapshot import Snapshot

_BATCH = 32


def largest_activations(
    now: Snapshot, images: Any, show_progress_bar: bool | None = None
) -> np.ndarray:
    """Return the largest absolute output of each convolution on some images, and that of pixels.

    Parameters
    ----------
    now : Snapshot
    images : images
        See `Model.encode`.
    show_progress_bar : bool, optional

    Raises
    ------
    DecodeError
        An image cannot be read.
    ValueError
        There are no images, or the network output contains NaN or infinity.
    """
    inputs, threads = Inputs.of(images), check_threads(None)
    largest: list[np.ndarray] = []
    bar = progress_bar(show_progress_bar, inputs.length, "quantizing")
    try:
        for batch in batches_.batches(inputs, now.preprocess, _BATCH, num_threads=threads):
            for pixels in (batch.pixels, batch.mirrored):
                if pixels is not None and len(pixels):
                    found = now.trunk.network.largest(pixels, threads)
                    largest.append(found.max(axis=0))
            bar.update(len(batch.pixels))
    finally:
        bar.close()
    if not largest:
        raise ValueError("quantize needs at least one image, got none")
    ranges: np.ndarray = np.max(largest, axis=0)
    # Other images may be brighter or darker.
    ranges[-1] = max(ranges[-1], largest_pixel(now.preprocess))
    if not np.isfinite(ranges).all():
        raise ValueError("quantize: the network output on these images has NaN or infinity")
    return ranges
