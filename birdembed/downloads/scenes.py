"""Put the birds of the sample photos, which have no background, into other scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

#: Colours of backgrounds, from far to near: sky, water, leaves, grass, earth, bark, rock, dusk.
_SCENES = (
    ((150, 185, 225), (215, 228, 240)),
    ((60, 95, 125), (130, 160, 170)),
    ((40, 70, 35), (120, 150, 80)),
    ((95, 120, 55), (170, 180, 105)),
    ((110, 90, 65), (185, 165, 130)),
    ((60, 48, 40), (125, 105, 85)),
    ((95, 95, 98), (180, 178, 172)),
    ((45, 40, 60), (190, 130, 100)),
)


def cut_out(full: Image, most: int) -> Image:
    """Crop the empty space around the bird, and shrink its longer side to at most `most` pixels."""
    alpha = full.getchannel("A").point(lambda value: 255 if value > 20 else 0)
    bird = full.crop(alpha.getbbox())
    bird.thumbnail((most, most))
    return bird


def view(
    bird: Image,
    size: int,
    rng: np.random.Generator,
    *,
    turn: float = 30,
    sides: tuple[float, float] = (0.6, 1.45),
    light: tuple[float, float] = (0.55, 1.4),
) -> Image:
    """Return a view of the bird: mirrored or not, rotated, brighter or darker, on a background.

    Parameters
    ----------
    bird : PIL image
        An image with an alpha channel.
    size : int
        Side of the view in pixels.
    rng : Generator
        Source of all random choices.
    turn : float
        Maximum rotation of the bird in degrees.
    sides : (float, float)
        Smallest and largest share of the view that the longer side of the bird takes. Above 1, the
        edge of the view crops the bird.
    light : (float, float)
        Smallest and largest factor of the brightness.
    """
    from PIL import Image, ImageEnhance

    seen = bird.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else bird
    degrees = float(rng.uniform(-turn, turn))
    seen = seen.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    share = size * rng.uniform(*sides) / max(seen.size)
    new = [max(1, round(side * share)) for side in seen.size]
    seen = seen.resize((new[0], new[1]), Image.Resampling.LANCZOS)
    image = background(size, rng)
    # A bird larger than the image is cropped by its edge.
    corner = [round(rng.uniform(min(0, size - side), max(0, size - side))) for side in new]
    image.paste(seen, (corner[0], corner[1]), seen)
    for enhance, low, high in (
        (ImageEnhance.Brightness, *light),
        (ImageEnhance.Contrast, 0.75, 1.25),
        (ImageEnhance.Color, 0.6, 1.35),
    ):
        image = enhance(image).enhance(float(rng.uniform(low, high)))
    return image


def background(size: int, rng: np.random.Generator) -> Image:
    """Return a background like a place out of focus: a gradient between two colours, with noise."""
    from PIL import Image

    pair: Any = np.asarray(_SCENES[rng.integers(len(_SCENES))], np.float64)
    if rng.random() < 0.5:
        pair = pair[::-1]
    down = np.linspace(0, 1, size)[:, None, None]
    pixels = pair[0] * (1 - down) + pair[1] * down
    for cells, strength in ((3, 40), (9, 26), (36, 14)):
        coarse = rng.normal(0, strength, (cells, cells, 1)) + rng.normal(0, 6, (cells, cells, 3))
        small = np.clip(coarse + 128, 0, 255).astype(np.uint8)
        wide = Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)
        pixels = pixels + np.asarray(wide, np.float64) - 128
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
