"""Images for the benchmarks: photos from BIRDEMBED_DATA, or generated ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np


def photographs(count: int, folder: Path) -> tuple[list[str], str]:
    """Return the paths of `count` JPEGs of 224 x 224, and a description of them."""
    root = os.environ.get("BIRDEMBED_DATA")
    if root:
        paths = sorted(str(path) for path in Path(root).rglob("*.jpg"))
        if len(paths) >= count:
            step = len(paths) / count
            chosen = [paths[int(i * step)] for i in range(count)]
            return chosen, f"{count} photos from BIRDEMBED_DATA"
    return generated(count, folder), f"{count} generated JPEGs (no photos in BIRDEMBED_DATA)"


def generated(count: int, folder: Path, size: int = 224) -> list[str]:
    """Write JPEGs with about the detail and size of a photo (about 12 kB)."""
    from PIL import Image

    rng = np.random.default_rng(0)
    paths = []
    for i in range(count):
        picture = np.zeros((size, size, 3), np.float32)
        for cells, strength in ((4, 70), (14, 40), (56, 20), (size, 6)):
            noise = (rng.random((cells, cells, 3)) * 255).astype(np.uint8)
            scaled = Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)
            picture += (np.asarray(scaled, np.float32) - 128) * (strength / 74)
        image = Image.fromarray(np.clip(picture + 128, 0, 255).astype(np.uint8))
        path = folder / f"{i:04d}.jpg"
        image.save(path, quality=88)
        paths.append(str(path))
    return paths
