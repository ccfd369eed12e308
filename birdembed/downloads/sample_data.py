"""Labelled images to try out training: from a folder, or made from the sample photos.

The notebooks get their images here. Each sample photo shows one bird without a background. If
several images of a bird are needed, they are made from its photo by changing it (views).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from birdembed.base.checks import check_integer
from birdembed.base.files import cache_dir, replacing_dir
from birdembed.base.optional import need
from birdembed.base.public import public
from birdembed.data.folder import ImageFolder
from birdembed.data.parts import read_parts
from birdembed.downloads.fetch import fetch
from birdembed.downloads.sample_species import species_of
from birdembed.downloads.scenes import cut_out, view
from birdembed.downloads.spread import spread

_VERSION = 2  # of the views; views of another version get another folder in the cache
_PARTS = ("train", "valid", "unseen")
_HELD_OUT = 0.2  # share of a species' photos that is not in the training


@public
@dataclass(frozen=True)
class SampleData:
    """Labelled images for training and for evaluation.

    Attributes
    ----------
    train : ImageFolder
        Images for training.
    valid : ImageFolder
        Other images of the same species, which are not in `train`.
    unseen : ImageFolder
        Images of other species, which are not in `train`. Can be empty.
    source : str
        A description of the images in one sentence.
    """

    train: ImageFolder
    valid: ImageFolder
    unseen: ImageFolder
    source: str


def sample_photographs(
    folder: str | os.PathLike[str] | None = None,
    *,
    classes: int | None = None,
    per_class: int = 8,
) -> tuple[ImageFolder, str]:
    """Return photos of birds, and a sentence that describes them.

    Parameters
    ----------
    folder : str or Path, optional
        A folder with one subfolder per species, or with such folders for training and validation
        (`train`, `valid`); only the training photos are used. Default: the sample photos.
    classes : int, optional
        Maximum number of species, spread over the alphabet. Default: all species.
    per_class : int
        Maximum number of photos per species.

    Returns
    -------
    data : ImageFolder
    source : str

    Raises
    ------
    OSError, ValueError
        The folder does not exist, or has no subfolders with photos, or a number is below 1.
    TypeError
        A number is not an integer.
    BirdembedError
        The sample photos cannot be downloaded.
    """
    if classes is not None:
        classes = check_integer("classes", classes, 1)
    per_class = check_integer("per_class", per_class, 1)
    if folder is not None:
        data, _ = read_parts(folder)
        data = data.select(spread(data.class_names, classes), per_class=per_class)
        return data, f"{len(data)} photos of {len(data.class_names)} species from your folder"
    paths = _photographs()
    names = [species_of(path.stem)[0] for path in paths]
    data = ImageFolder.from_lists([str(path) for path in paths], names)
    data = data.select(spread(data.class_names, classes), per_class=per_class)
    return data, f"{len(data)} sample photos of {len(data.class_names)} species"


def sample_data(
    folder: str | os.PathLike[str] | None = None,
    *,
    classes: int = 24,
    unseen: int = 6,
    train: int = 20,
    valid: int = 5,
    size: int = 192,
    seed: int = 0,
) -> SampleData:
    """Return images for fine-tuning, and images of species that are left out of the training.

    Without a folder, the images are views of the sample photos, one photo per species. Each view
    is cropped, rotated, changed in brightness and put in front of a random background. Views are
    made once and kept in the cache.

    All numbers are maximum numbers. If there are fewer species, up to a third of them are left out.

    Parameters
    ----------
    folder : str or Path, optional
        A folder with one subfolder per species, or with such folders for training and validation
        (`train`, `valid`). Without these, a fifth of the photos of each species is used for
        validation. Default: views of the sample photos.
    classes, unseen : int
        Number of species to train on, and number of species to leave out.
    train, valid : int
        Images per species for training and for validation; unseen species have `valid` each.
    size : int
        Side of a view in pixels.
    seed : int
        Seed of the random choices.

    Returns
    -------
    SampleData

    Raises
    ------
    OSError, ValueError
        The folder does not exist, has fewer than two species, or has no species with two photos, or
        a number is out of range.
    TypeError
        A number is not an integer.
    BirdembedError
        The sample photos cannot be downloaded.
    """
    classes, unseen = check_integer("classes", classes, 1), check_integer("unseen", unseen, 0)
    counts = {"train": check_integer("train", train, 1), "valid": check_integer("valid", valid, 1)}
    counts["unseen"] = counts["valid"]
    size, seed = check_integer("size", size, 1), check_integer("seed", seed, 0)
    parts = None if folder is None else read_parts(folder)
    names = sorted(_samples()) if parts is None else parts[0].class_names
    if len(names) < 2:
        raise ValueError(f"{folder}: has one species ({names[0]}), but training needs at least two")
    if classes + unseen > len(names):
        unseen = min(unseen, len(names) // 3)
        classes = len(names) - unseen
    chosen = spread(names, classes + unseen)
    apart = spread(chosen, unseen) if unseen else []
    known = [name for name in chosen if name not in apart]
    if parts is None:
        return _view_data(known, apart, counts, size, seed)
    return _real_data(*parts, known, apart, counts, seed)


def _real_data(
    seen: ImageFolder,
    held: ImageFolder | None,
    known: list[str],
    apart: list[str],
    counts: dict[str, int],
    seed: int,
) -> SampleData:
    """Return photos of a folder; without `held`, some of `seen` are held out."""
    both = _joined(seen, held)  # unseen species are not trained on, so all their photos can be used
    if held is None:
        seen, held = seen.split(_HELD_OUT, seed)
    there = set(held.names)
    judged = [name for name in known if name in there]
    if not judged:
        raise ValueError(
            f"{seen.root}: no species has a second photo, so there are no photos for validation; "
            "add a second photo to at least one species"
        )
    train = seen.select(known, per_class=counts["train"], seed=seed)
    valid = held.select(judged, per_class=counts["valid"], seed=seed)
    unseen = both.select(apart, per_class=counts["unseen"], seed=seed) if apart else _nothing()
    return SampleData(train, valid, unseen, _source(train, valid, unseen, "photos", "your folder"))


def _joined(seen: ImageFolder, held: ImageFolder | None) -> ImageFolder:
    """Return the images of both datasets as one."""
    if held is None:
        return seen
    return ImageFolder.from_lists([*seen.paths, *held.paths], [*seen.names, *held.names])


def _view_data(
    known: list[str], apart: list[str], counts: dict[str, int], size: int, seed: int
) -> SampleData:
    """Return views of the sample photos."""
    folder = _views(known, apart, counts, size, seed)
    train, valid = ImageFolder(folder / "train"), ImageFolder(folder / "valid")
    unseen = ImageFolder(folder / "unseen") if apart else _nothing()
    source = _source(train, valid, unseen, "views", "the sample photos")
    return SampleData(train, valid, unseen, source)


def _source(
    train: ImageFolder, valid: ImageFolder, unseen: ImageFolder, what: str, origin: str
) -> str:
    """Return the sentence that describes the images."""
    parts = [
        f"{len(train)} {what} of {len(train.class_names)} species to train with",
        f"{len(valid)} of the same species that are not in the training",
    ]
    if len(unseen):
        parts.append(f"{len(unseen)} of {len(set(unseen.names))} other species")
    return f"{', '.join(parts[:-1])} and {parts[-1]}, from {origin}"


def _nothing() -> ImageFolder:
    return ImageFolder.from_lists([], [], class_names=["none"])


def _photographs() -> list[Path]:
    return sorted(Path(fetch("samples")).glob("*.png"))


def _samples() -> dict[str, Path]:
    """Return one sample photo of each species."""
    found: dict[str, Path] = {}
    for path in _photographs():
        found.setdefault(species_of(path.stem)[0], path)
    return found


# Views of a sample photo -----------------------------------------------------------------------


def _views(
    known: Sequence[str], apart: Sequence[str], counts: dict[str, int], size: int, seed: int
) -> Path:
    """Return a folder `train|valid|unseen / BIRD / *.jpg` of views, and make it if necessary."""
    request = repr((_VERSION, known, apart, sorted(counts.items()), size, seed))
    target = cache_dir() / "views" / hashlib.sha256(request.encode()).hexdigest()[:16]
    if target.is_dir():
        return target
    Image = need("PIL.Image", "pillow", "sample_data")
    samples = _samples()
    with replacing_dir(target) as folder:
        for number, part in enumerate(_PARTS):
            for name in apart if part == "unseen" else known:
                place = folder / part / name
                place.mkdir(parents=True)
                with Image.open(samples[name]) as full:
                    bird = cut_out(full.convert("RGBA"), 2 * size)
                for i in range(counts[part]):
                    # Its own generator, so that a view does not depend on the number of others.
                    rng = np.random.default_rng([seed, number, i, *name.encode()])
                    view(bird, size, rng).save(place / f"{i:03d}.jpg", quality=90)
    return target
