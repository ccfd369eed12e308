"""The photographs that the shipped model learns from and is measured on, and how they are parted.

The folder holds bird-fifty/train, bird-fifty/valid and birds-more, with one subfolder per species.
"""

import csv
from pathlib import Path
from typing import NamedTuple

NAMES = Path(__file__).resolve().parent / "species_names.csv"


class Photograph(NamedTuple):
    """A photograph of a species, and the key that teachers' embeddings have for it."""

    path: Path
    species: str
    key: str


class Photographs:
    """The photographs by part, and the parts that a tuning run leaves out.

    Attributes
    ----------
    train, valid : list of Photograph
        Of 51 species: 100 of each for training, 5 of each that no training sees.
    more : list of Photograph
        Of 425 further species, 5 of each.
    unseen : list of Photograph
        Every ninth of the further species in the order of names.
    fifth, unseen_fifth : list of Photograph
        The last one of each further species: of those seen in tuning, and of the unseen ones.
    """

    def __init__(self, folder: str) -> None:
        root = Path(folder)
        self.train = _below(root / "bird-fifty" / "train")
        self.valid = _below(root / "bird-fifty" / "valid")
        everything = _below(root / "birds-more")
        ninths = set(sorted({photo.species for photo in everything})[::9])
        birds = {folder for folder, (common, _) in names().items() if common}
        self.more = [photo for photo in everything if photo.species in birds]
        self.unseen = [photo for photo in self.more if photo.species in ninths]
        last = {photo.species: photo for photo in self.more}.values()
        self.fifth = [photo for photo in last if photo.species not in ninths]
        self.unseen_fifth = [photo for photo in last if photo.species in ninths]

    def tuning(self) -> list[Photograph]:
        """Return what a tuning run learns from: nothing of `unseen`, `fifth` and `valid`."""
        out = {*self.unseen, *self.fifth}
        return self.train + [photo for photo in self.more if photo not in out]

    def known(self) -> list[Photograph]:
        """Return what the shipped model learns from: every species, four or a hundred of each."""
        out = {*self.fifth, *self.unseen_fifth}
        return self.train + [photo for photo in self.more if photo not in out]


def _below(folder: Path) -> list[Photograph]:
    """Return the photographs in the order of their paths."""
    return [
        Photograph(path, path.parent.name, f"{folder.name}/{path.parent.name}/{path.name}")
        for path in sorted(folder.rglob("*.jpg"))
    ]


def names() -> dict[str, tuple[str, str]]:
    """Return the common and the scientific name of each folder, as species_names.csv has them.

    The collection misspells some folders, and some hold another species than they say. The names
    of a folder that holds no birds are empty.
    """
    with NAMES.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return {row["folder"]: (row["common_name"], row["scientific_name"]) for row in rows}
