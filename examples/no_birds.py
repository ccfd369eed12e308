"""Collect twenty images that do not show birds.

Some Python packages contain photos and scans for their own examples: scikit-image (a cat, a cup of
coffee, a rocket, a face, the moon, walls, coins, a page of text ...), scikit-learn (a Chinese
temple, a flower), Matplotlib (a portrait). This module uses those that are installed. If there are
fewer than twenty, it draws the rest: scenes and textures.

    pip install scikit-image scikit-learn matplotlib
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

import birdembed as be

COUNT = 20
#: Images by package and folder. Drawings and masks are left out.
PACKAGED = {
    ("sklearn", "datasets/images"): ["china.jpg", "flower.jpg"],
    ("skimage", "data"): [
        *("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "camera.png", "coins.png"),
        *("hubble_deep_field.jpg", "moon.png", "brick.png", "grass.png", "gravel.png", "page.png"),
        *("clock_motion.png", "retina.jpg", "ihc.png", "motorcycle_left.png"),
    ],
    ("matplotlib", "mpl-data/sample_data"): ["grace_hopper.jpg"],
}

Picture = np.ndarray


def packaged() -> dict[str, Picture]:
    """Return the images in installed packages, ``(h, w, 3)`` uint8 by name."""
    found = {}
    for (package, folder), names in PACKAGED.items():
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            for name in names:
                path = Path(place) / folder / name
                if path.is_file():
                    found[f"{package}: {name}"] = be.decode_image(path)
    return found


def _noise(rng: np.random.Generator, cells: int) -> Picture:
    """Return soft coloured clouds."""
    small = rng.random((cells, cells, 3))
    axis = np.linspace(0, cells - 1, 256)
    low = np.floor(axis).astype(int)
    high = np.minimum(low + 1, cells - 1)
    part = (axis - low)[:, None]
    rows = small[low] * (1 - part[:, None]) + small[high] * part[:, None]
    return (rows[:, low] * (1 - part) + rows[:, high] * part) * 255


def _hills(rng: np.random.Generator) -> Picture:
    """Return a sky, the sun and two ranges of hills."""
    y, x = np.mgrid[0:256, 0:256] / 255.0
    image = np.stack([0.5 + 0.4 * y, 0.65 + 0.25 * y, 0.95 - 0.1 * y], axis=2)
    image[(x - 0.7) ** 2 + (y - 0.25) ** 2 < 0.006] = (1.0, 0.95, 0.6)
    for base, colour in ((0.6, (0.3, 0.45, 0.4)), (0.75, (0.2, 0.4, 0.15))):
        line = base + sum(
            rng.normal(0, 0.05 / k) * np.sin(2 * np.pi * k * x + rng.random() * 6)
            for k in (1, 2, 5)
        )
        image[y > line] = colour
    return image * 255 + rng.normal(0, 4, image.shape)


def _houses(rng: np.random.Generator) -> Picture:
    """Return a row of house fronts with windows."""
    image = np.full((256, 256, 3), (150.0, 190.0, 230.0))
    for left in range(0, 256, 64):
        top = int(rng.integers(40, 130))
        image[top:, left : left + 60] = rng.integers(90, 220, 3)
        for row in range(top + 12, 236, 34):
            for column in range(left + 8, left + 52, 26):
                image[row : row + 18, column : column + 14] = (60, 70, 90)
    return image + rng.normal(0, 5, image.shape)


def _checks(rng: np.random.Generator) -> Picture:
    """Return a tiled floor."""
    y, x = np.mgrid[0:256, 0:256]
    side = int(rng.integers(16, 40))
    dark = ((x // side + y // side) % 2)[..., None]
    return dark * rng.integers(0, 100, 3) + (1 - dark) * rng.integers(150, 256, 3) + 0.0


def _waves(rng: np.random.Generator) -> Picture:
    """Return ripples, like water or cloth."""
    y, x = np.mgrid[0:256, 0:256] / 255.0
    height = sum(
        np.sin(2 * np.pi * (rng.uniform(2, 14) * x + rng.uniform(2, 14) * y) + rng.random() * 6)
        for _ in range(6)
    )
    return np.stack([90 + 12 * height, 120 + 15 * height, 160 + 18 * height], axis=2)


_DRAWN: dict[str, Callable[[np.random.Generator], Picture]] = {
    "hills": _hills,
    "houses": _houses,
    "clouds": lambda rng: _noise(rng, 6),
    "tiles": _checks,
    "waves": _waves,
    "confetti": lambda rng: _noise(rng, 64),
}


def drawn(count: int, seed: int = 0) -> dict[str, Picture]:
    """Return drawn scenes and textures; the same seed gives the same images."""
    rng = np.random.default_rng(seed)
    kinds = list(_DRAWN)
    pictures = {}
    for i in range(count):
        kind = kinds[i % len(kinds)]
        pixels = np.clip(_DRAWN[kind](rng), 0, 255).astype(np.uint8)
        pictures[f"drawn: {kind} {i // len(kinds) + 1}"] = pixels
    return pictures


def no_birds(folder: str | None = None) -> dict[str, Picture]:
    """Return twenty images by name, or all images of your own folder."""
    if folder is not None:
        paths = sorted(path for path in Path(folder).iterdir() if path.is_file())
        return {path.name: be.decode_image(path) for path in paths}
    found = dict(list(packaged().items())[:COUNT])
    return found | drawn(COUNT - len(found))
