"""The photos used to train and evaluate the bundled model, and how they are split.

The folder holds bird-fifty/train, bird-fifty/valid and birds-more, with one subfolder per species.
"""

import csv
from pathlib import Path
from typing import NamedTuple

NAMES = Path(__file__).resolve().parent / "species_names.csv"


class Photograph(NamedTuple):
    """A photo of a species, and its key in the files of teacher embeddings."""

    path: Path
    species: str
    key: str


class Photographs:
    """The photos by split, and the splits that a tuning run leaves out.

    Attributes
    ----------
    train, valid : list of Photograph
        Photos of 51 species: 100 per species for training, and 5 that are never trained on.
    more : list of Photograph
        Photos of 425 further species, 5 per species.
    unseen : list of Photograph
        Photos of every ninth of the further species, sorted by name.
    fifth, unseen_fifth : list of Photograph
        The last photo of each further species: of those used in tuning, and of the unseen ones.
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
        """Return the training photos of a tuning run, without `unseen`, `fifth` and `valid`."""
        out = {*self.unseen, *self.fifth}
        return self.train + [photo for photo in self.more if photo not in out]

    def known(self) -> list[Photograph]:
        """Return the training photos of the bundled model: 4 or 100 of every species."""
        out = {*self.fifth, *self.unseen_fifth}
        return self.train + [photo for photo in self.more if photo not in out]


def _below(folder: Path) -> list[Photograph]:
    """Return the photos sorted by path."""
    return [
        Photograph(path, path.parent.name, f"{folder.name}/{path.parent.name}/{path.name}")
        for path in sorted(folder.rglob("*.jpg"))
    ]


def names() -> dict[str, tuple[str, str]]:
    """Return the common and the scientific name for each folder, from species_names.csv.

    Some folders of the collection are misspelled, and some contain another species. The names of a
    folder without birds are empty.
    """
    with NAMES.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return {row["folder"]: (row["common_name"], row["scientific_name"]) for row in rows}
