"""Labelled sample images for trying out training.

The notebooks get their images here. The sample photographs show one bird each, cut out of its
background; where several images of a bird are needed, they are views of its one photograph.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from birdembed.base.files import cache_dir, replacing_dir
from birdembed.base.optional import need
from birdembed.base.public import public
from birdembed.data.folder import ImageFolder
from birdembed.downloads.fetch import fetch

if TYPE_CHECKING:
    from PIL.Image import Image

VARIABLE = "BIRDEMBED_DATA"
_VERSION = 1  # of the views: a change makes new folders in the cache
_PARTS = ("train", "valid", "unseen")
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


@public
@dataclass(frozen=True)
class SampleData:
    """Labelled images to train and to search with.

    Attributes
    ----------
    train, valid : ImageFolder
        The same classes; no image of `valid` is in `train`.
    unseen : ImageFolder
        Images of classes that neither of them has.
    source : str
        One sentence that says what the images are.
    """

    train: ImageFolder
    valid: ImageFolder
    unseen: ImageFolder
    source: str


def sample_photographs(classes: int | None = None, per_class: int = 8) -> tuple[ImageFolder, str]:
    """Return photographs of birds, and a sentence that says which they are.

    Parameters
    ----------
    classes : int, optional
        So many species, spread over the alphabet. Default: all.
    per_class : int
        Photographs of each species, at most; of the sample photographs there is one of each.

    Returns
    -------
    data : ImageFolder
    source : str

    Raises
    ------
    BirdembedError
        `BIRDEMBED_DATA` is not set, and the sample photographs cannot be fetched.
    """
    root = _real_folder()
    if root is not None:
        data = ImageFolder(root / "train")
        data = data.select(_spread(data.class_names, classes), per_class=per_class)
        return data, f"{len(data)} photographs of {len(data.class_names)} species ({VARIABLE})"
    paths = _photographs()
    names = [_name(path) for path in paths]
    data = ImageFolder.from_lists([str(path) for path in paths], names)
    data = data.select(_spread(data.class_names, classes))
    return data, (
        f"{len(data)} sample photographs, one of each bird ({VARIABLE} is not set, so these "
        "are the ones that `birdembed fetch samples` gets)"
    )


def sample_data(
    classes: int = 24,
    *,
    unseen: int = 6,
    train: int = 20,
    valid: int = 5,
    size: int = 192,
    seed: int = 0,
) -> SampleData:
    """Return images to fine-tune with, and images of birds that are kept out of the training.

    From `BIRDEMBED_DATA` where it is set (`train/SPECIES/*.jpg`, `valid/SPECIES/*.jpg`). Else
    each sample photograph is a class, and views of it are its images: cropped, turned, lit
    and put before backgrounds of all kinds. They are made once and kept in the cache.

    Parameters
    ----------
    classes, unseen : int
        Birds to train with, and others to keep out.
    train, valid : int
        Images of each bird, at most; the unseen ones have `valid` each.
    size : int
        Pixels of a view's side.
    seed : int
        Of the choice, and of the views.

    Returns
    -------
    SampleData

    Raises
    ------
    ValueError
        There are not so many birds.
    BirdembedError
        `BIRDEMBED_DATA` is not set, and the sample photographs cannot be fetched.
    """
    root = _real_folder()
    names = ImageFolder(root / "train").class_names if root else [_name(p) for p in _photographs()]
    if classes + unseen > len(names):
        raise ValueError(
            f"classes and unseen ask for {classes} + {unseen} birds, there are {len(names)}"
        )
    chosen = _spread(names, classes + unseen)
    apart = _spread(chosen, unseen) if unseen else []
    known = [name for name in chosen if name not in apart]
    counts = {"train": train, "valid": valid, "unseen": valid}
    if root is not None:
        return _real_data(root, known, apart, counts, seed)
    return _view_data(known, apart, counts, size, seed)


def _real_data(
    root: Path, known: list[str], apart: list[str], counts: dict[str, int], seed: int
) -> SampleData:
    """Return photographs of the folder that BIRDEMBED_DATA names."""
    seen, held = ImageFolder(root / "train"), ImageFolder(root / "valid")
    return SampleData(
        seen.select(known, per_class=counts["train"], seed=seed),
        held.select(known, per_class=counts["valid"], seed=seed),
        held.select(apart, per_class=counts["unseen"], seed=seed) if apart else _nothing(),
        f"photographs of {len(known)} species to train with and of {len(apart)} others "
        f"({VARIABLE})",
    )


def _view_data(
    known: list[str], apart: list[str], counts: dict[str, int], size: int, seed: int
) -> SampleData:
    """Return views of the sample photographs."""
    folder = _views(known, apart, counts, size, seed)
    return SampleData(
        ImageFolder(folder / "train"),
        ImageFolder(folder / "valid"),
        ImageFolder(folder / "unseen") if apart else _nothing(),
        f"views of {len(known)} sample photographs to train with and of {len(apart)} others: "
        "each photograph is a class, and its pictures are that one photograph cropped, turned, "
        f"lit and put before other backgrounds ({VARIABLE} is not set)",
    )


def _real_folder() -> Path | None:
    """Return the folder that BIRDEMBED_DATA names, None where it is not set."""
    given = os.environ.get(VARIABLE)
    if not given:
        return None
    root = Path(given)
    for part in ("train", "valid"):
        if not (root / part).is_dir():
            raise FileNotFoundError(f"{VARIABLE}={given}: there is no folder {part} in it")
    return root


def _nothing() -> ImageFolder:
    return ImageFolder.from_lists([], [], class_names=["none"])


def _spread(names: Sequence[str], n: int | None) -> list[str]:
    """Return n of the names, spread evenly over the alphabet."""
    if n is None or n >= len(names):
        return list(names)
    return [names[int((i + 0.5) * len(names) / n)] for i in range(n)]


def _photographs() -> list[Path]:
    return sorted(Path(fetch("samples")).glob("*.png"))


def _name(path: Path) -> str:
    return path.stem.replace("_", " ").replace("-", " ").capitalize()


# Views of a sample photograph ------------------------------------------------------------------


def _views(
    known: Sequence[str], apart: Sequence[str], counts: dict[str, int], size: int, seed: int
) -> Path:
    """Return a folder `train|valid|unseen / BIRD / *.jpg` of views; make it if need be."""
    request = repr((_VERSION, known, apart, sorted(counts.items()), size, seed))
    target = cache_dir() / "views" / hashlib.sha256(request.encode()).hexdigest()[:16]
    if target.is_dir():
        return target
    Image = need("PIL.Image", "pillow", "sample_data")
    samples = {_name(path): path for path in _photographs()}
    with replacing_dir(target) as folder:
        for number, part in enumerate(_PARTS):
            for name in apart if part == "unseen" else known:
                place = folder / part / name
                place.mkdir(parents=True)
                with Image.open(samples[name]) as full:
                    bird = _cut_out(full.convert("RGBA"), 2 * size)
                for i in range(counts[part]):
                    # Of its own: no view depends on how many others there are.
                    rng = np.random.default_rng([seed, number, i, *name.encode()])
                    _view(bird, size, rng).save(place / f"{i:03d}.jpg", quality=90)
    return target


def _cut_out(full: Image, most: int) -> Image:
    """Cut the empty space off around the bird, and shrink it to at most `most` pixels a side."""
    alpha = full.getchannel("A").point(lambda value: 255 if value > 20 else 0)
    bird = full.crop(alpha.getbbox())
    bird.thumbnail((most, most))
    return bird


def _view(bird: Image, size: int, rng: np.random.Generator) -> Image:
    """Draw a view of the bird: cropped, turned, lit, and put before a background."""
    from PIL import Image, ImageEnhance

    seen = bird.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else bird
    turn = float(rng.uniform(-30, 30))
    seen = seen.rotate(turn, Image.Resampling.BICUBIC, expand=True)
    share = size * rng.uniform(0.6, 1.45) / max(seen.size)
    new = [max(1, round(side * share)) for side in seen.size]
    seen = seen.resize((new[0], new[1]), Image.Resampling.LANCZOS)
    image = _background(size, rng)
    # Larger than the image: its edge crops the bird.
    corner = [round(rng.uniform(min(0, size - side), max(0, size - side))) for side in new]
    image.paste(seen, (corner[0], corner[1]), seen)
    for enhance, low, high in (
        (ImageEnhance.Brightness, 0.55, 1.4),
        (ImageEnhance.Contrast, 0.75, 1.25),
        (ImageEnhance.Color, 0.6, 1.35),
    ):
        image = enhance(image).enhance(float(rng.uniform(low, high)))
    return image


def _background(size: int, rng: np.random.Generator) -> Image:
    """Draw a background like a place out of focus: two colours that run into each other."""
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
