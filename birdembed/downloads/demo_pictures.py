"""The pictures of `birdembed demo`: several of each species, or of each bird."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from birdembed.base.optional import need
from birdembed.base.species_names import SpeciesNames
from birdembed.data.folder import ImageFolder
from birdembed.data.parts import read_parts
from birdembed.data.readable import readable
from birdembed.downloads.fetch import fetch
from birdembed.downloads.sample_species import SPECIES, species_of
from birdembed.downloads.scenes import cut_out, view
from birdembed.downloads.spread import spread
from birdembed.images.decoding import decode_image
from birdembed.images.files import folder_of_images, subfolders
from birdembed.images.report import Failure

if TYPE_CHECKING:
    from PIL.Image import Image

_EACH = 3  # pictures made from each photo
_PER_SPECIES = 4  # maximum number of the user's photos per species
_SIZE = 224  # side of a generated picture in pixels
_TURN = 8  # maximum rotation in degrees
_SIDES = (0.7, 0.95)  # share of the picture that the bird takes
_BRIGHTNESS = (0.75, 1.25)
#: Domestic breeds and white birds, which do not look like most birds of their species.
_LEFT_OUT = {
    *("albino_peahen", "chicken_profile", "drake", "gander", "guineafowl", "hen", "ostrich"),
    "rooster",
}
_CROP = 0.8  # share of the photo that a changed copy keeps
_LIGHT = (0.6, 1.0, 1.4)


class DemoPictures(NamedTuple):
    """Labelled pictures.

    Attributes
    ----------
    data : ImageFolder
        The pictures. Their labels are species, or photos if the species are not known.
    species : dict
        Common and scientific names of the labels, if they are known.
    labelled : bool
        Whether the labels are species.
    text : str
        A description of the pictures.
    failures : list of Failure
        Files that cannot be read.
    """

    data: ImageFolder
    species: SpeciesNames
    labelled: bool
    text: str
    failures: list[Failure]


def demo_pictures(folder: Path | None, limit: int, work: Path) -> DemoPictures:
    """Return pictures for the demo: photos of a folder, or pictures made from photos.

    Parameters
    ----------
    folder : Path or None
        With one subfolder per species: returns its photos. Without subfolders: makes changed copies
        of each photo. None: puts the bird of each sample photo into several scenes.
    limit : int
        Maximum number of photos.
    work : Path
        Empty folder to write pictures to.

    Raises
    ------
    OSError
        The folder does not exist.
    ValueError
        The folder has fewer than two readable photos.
    ImportError
        Pillow is missing, and pictures have to be made.
    """
    if folder is None:
        return _scenes(Path(fetch("samples")), limit, work)
    if folder.is_dir() and subfolders(str(folder)):
        return _photos(folder, limit)
    return _copies(folder, limit, work)


def _scenes(folder: Path, limit: int, work: Path) -> DemoPictures:
    """Put the bird of each sample photo into several scenes."""
    open_image = need("PIL.Image", "pillow", "demo").open
    usual = [path for path in sorted(folder.glob("*.png")) if path.stem not in _LEFT_OUT]
    photos = spread(usual, limit)
    paths, names = [], []
    for photo in photos:
        with open_image(photo) as full:
            bird = cut_out(full.convert("RGBA"), 2 * _SIZE)
        for number in range(_EACH):
            rng = np.random.default_rng([number, *photo.stem.encode()])
            scene = view(bird, _SIZE, rng, turn=_TURN, sides=_SIDES, light=_BRIGHTNESS)
            paths.append(_saved(scene, work, photo.stem, number))
            names.append(species_of(photo.stem)[0])
    data = ImageFolder.from_lists(paths, names)
    text = (
        f"{len(photos)} sample photos of {len(data.class_names)} species. They show birds without "
        f"a background,\nso each bird is put into {_EACH} scenes: {len(data)} pictures."
    )
    names_of = {common: (common, scientific) for common, scientific in SPECIES.values()}
    return DemoPictures(data, names_of, True, text, [])


def _photos(folder: Path, limit: int) -> DemoPictures:
    """Return photos of a folder with one subfolder per species (of its validation part, if any)."""
    train, valid = read_parts(folder)
    given = train if valid is None else valid
    counts = np.bincount(given.labels, minlength=len(given.class_names))
    several = [
        name for name, count in zip(given.class_names, counts, strict=True) if count > 1
    ] or given.class_names
    chosen = given.select(spread(several, max(limit // _PER_SPECIES, 2)), per_class=_PER_SPECIES)
    data, failures = _readable(chosen)
    return DemoPictures(
        data,
        {},
        True,
        f"{len(data)} photos of {len(set(data.names))} species in {folder}",
        failures,
    )


def _copies(folder: Path, limit: int, work: Path) -> DemoPictures:
    """Make changed copies of each photo of a folder: cropped, mirrored, darker or brighter."""
    need("PIL.Image", "pillow", "demo")
    from PIL import Image

    given = spread(folder_of_images(folder).whole().paths, limit)
    photos, failures = _readable(ImageFolder.from_paths(given))
    paths, names = [], []
    for place, photo in enumerate(photos):
        pixels = decode_image(photo)
        name = os.path.relpath(photo, folder)
        for number in range(_EACH):
            copy = Image.fromarray(_changed(pixels, np.random.default_rng([place, number]), number))
            copy.thumbnail((2 * _SIZE, 2 * _SIZE))
            paths.append(_saved(copy, work, f"{place:04d}", number))
            names.append(name)
    text = f"{len(photos)} photos in {folder}, {_EACH} changed copies of each"
    return DemoPictures(ImageFolder.from_lists(paths, names), {}, False, text, failures)


def _changed(pixels: np.ndarray, rng: np.random.Generator, number: int) -> np.ndarray:
    """Return a part of a photo in other light; every second one is mirrored."""
    height, width = (max(1, round(side * _CROP)) for side in pixels.shape[:2])
    top = rng.integers(pixels.shape[0] - height + 1)
    left = rng.integers(pixels.shape[1] - width + 1)
    part = pixels[top : top + height, left : left + width]
    part = part[:, ::-1] if number % 2 else part
    lit = np.clip(part * _LIGHT[number % len(_LIGHT)], 0, 255)
    return np.ascontiguousarray(lit.astype(np.uint8))


def _readable(data: ImageFolder) -> tuple[ImageFolder, list[Failure]]:
    """Return the images that can be read, at least two, and the failures of the others."""
    kept, failures = readable(data)
    if len(kept) < 2:
        raise ValueError("the demo needs at least two photos that can be read")
    return kept, failures


def _saved(image: Image, work: Path, stem: str, number: int) -> str:
    path = work / f"{stem}-{number}.jpg"
    image.convert("RGB").save(path, quality=92)
    return str(path)
