"""The service without HTTP: the species and the most similar photos for a vector."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from birdembed._version import __version__
from birdembed.base.fingerprints import check_same_model
from birdembed.base.system import get_num_threads
from birdembed.base.text import shortened
from birdembed.model.stateful import snapshot_of
from birdembed.search.index import Index
from birdembed.search.mapped_file import IndexFileError
from birdembed.search.results import SearchResult
from birdembed.search.shared_rows import rows_of
from birdembed.serve.answers import (
    Embedding,
    Example,
    Found,
    Health,
    Identified,
    Look,
    Photograph,
    Result,
    Species,
)
from birdembed.serve.thumbnails import Thumbnails
from birdembed.species.identify import checked_gallery, nearest_species

NO_INDEX = (
    "this server has no photos to search; make an index with `birdembed index PHOTOS "
    "-o birds.index` and start `birdembed serve --index birds.index`"
)
NO_GALLERY = (
    "this model knows no species yet; add a gallery with `birdembed finetune`, or with "
    "`model.fit_gallery(data)` and `model.save_pretrained(folder)`, and start `birdembed serve "
    "--model folder`"
)

OVERWRITTEN = (
    "the file of the index was overwritten after it was loaded, or is damaged, so it cannot be "
    "searched; restart the server, and replace index files by renaming"
)


class Missing(Exception):
    """The server has no index or gallery for the endpoint; the message says how to add it."""


class NoRow(Exception):
    """The index has no such row; the message says which."""


class Service:
    """The service of a model, with its gallery and an index, if they exist."""

    def __init__(self, model: Any, index: Index | None, photos: str | os.PathLike[str] | None):
        self.model = model
        self.index = index
        self.gallery: tuple[Index, float] | None = None
        self.no_gallery = NO_GALLERY
        # With two threads, more than eight at a time are not faster; each thread computes four.
        self.batch = max(8, 4 * get_num_threads())
        if index is not None:
            advice = "build the index again with this model"
            check_same_model("index", index.fingerprint, "the model", model.fingerprint, advice)
            if index.dim not in (None, model.embedding_dim):
                raise ValueError(
                    f"index has {index.dim} dimensions, but the model has {model.embedding_dim}"
                )
        elif photos is not None:
            raise ValueError("photos= is the folder with the photos of an index; pass index=")
        folder = None if photos is None else Path(photos)
        if folder is not None and not folder.is_dir():
            raise NotADirectoryError(f"photos: expected a folder, got {folder}")
        self.thumbnails = None if index is None else Thumbnails(index, folder)
        now = snapshot_of(model)
        self.species_names = now.species_names
        self.threshold = now.threshold
        self.calibration = None if now.gallery is None else now.gallery.calibration
        if now.gallery is not None:
            try:
                self.gallery = checked_gallery(now)
            except ValueError as error:
                self.no_gallery = str(error)

    def embedded(self, vector: np.ndarray) -> Embedding:
        """Return the response for a vector."""
        return Embedding(vector.tolist(), len(vector), self.model.fingerprint)

    def found(self, vector: np.ndarray, k: int, min_score: float | None = None) -> Found:
        """Return the most similar photos, without those below `min_score`."""
        found = self._search(vector, k, min_score=min_score)
        return Found([Result(one.id, one.label, one.score) for one in found], found.close)

    def identified(self, vector: np.ndarray, k: int) -> Identified:
        """Return the most similar species, and whether the best one reaches the threshold."""
        if self.gallery is None:
            raise Missing(self.no_gallery)
        index, threshold = self.gallery
        (one,) = nearest_species(
            vector[None], index, threshold, k, self.species_names, self.calibration
        )
        return Identified(
            species=one.species if one.known else None,
            score=one.score,
            known=bool(one.known),
            probability=one.probability,
            threshold=threshold,
            results=[_result(match) for match in one.to_dict()["matches"]],
        )

    def look(self, vector: np.ndarray, k: int, n: int, example: int | None = None) -> Look:
        """Return the k most similar species and n most similar photos, without row `example`."""
        found = None if self.index is None else self._search(vector, n, example)
        return Look(
            None if self.gallery is None else self.identified(vector, k),
            None if found is None else self._photographs(found),
            None if found is None else found.close,
            None if example is None else self._example(example),
        )

    def check_row(self, row: int | None) -> None:
        """Raise `NoRow` if the index has no such row."""
        if row is not None and (self.index is None or row >= len(self.index)):
            raise NoRow(f"example: the index has no row {shortened(str(row), 20)}")

    def _search(
        self,
        vector: np.ndarray,
        k: int,
        example: int | None = None,
        min_score: float | None = None,
    ) -> SearchResult:
        if self.index is None:
            raise Missing(NO_INDEX)
        without = None if example is None else [self.index.ids[example]]
        found = self.index.search(vector, k=k, exclude_ids=without, min_score=min_score)
        found.threshold = self.threshold  # the index may not know its model
        return found

    def _example(self, row: int) -> Example:
        assert self.index is not None
        label = self.index.labels[row]
        return Example(self.index.ids[row], label, self._names(label)[0])

    def _photographs(self, found: SearchResult) -> list[Photograph]:
        return [
            Photograph(
                match.id,
                match.label,
                float(match.score),
                f"thumbnail/{row}",
                f"photo/{row}",
                *self._names(match.label),
            )
            for match, row in zip(found, found.indices.tolist(), strict=True)
        ]

    def _names(self, label: str | None) -> tuple[str | None, str | None]:
        """Return the common and the scientific name of a label, or None."""
        common, scientific = self.species_names.get(label or "", ("", ""))
        return common or None, scientific or None

    def health(self) -> Health:
        """Return the state of the model and the index."""
        now, problem = snapshot_of(self.model), self._problem()
        return Health(
            status="ok" if problem is None else "error",
            version=__version__,
            model=_shown(now.source),
            architecture=self.model.architecture,
            embedding_dim=self.model.embedding_dim,
            fingerprint=self.model.fingerprint,
            species=None if self.gallery is None else len(set(self.gallery[0].labels)),
            threshold=self.threshold,
            photographs=None if self.index is None else len(self.index),
            viewable=self.thumbnails is not None and self.thumbnails.viewable,
            no_gallery=self.no_gallery if self.gallery is None else None,
            no_index=NO_INDEX if self.index is None else None,
            problem=problem,
        )

    def _problem(self) -> str | None:
        """Return why searches fail, or None."""
        if self.index is not None:
            try:
                rows_of(self.index)
            except IndexFileError:  # its message has the path, which is not for clients
                return OVERWRITTEN
        return None


def _result(match: dict[str, Any]) -> Species | Result:
    """Return the response for a match of `Identification.to_dict`."""
    label, common = match["species"], match["common_name"]
    if common is None:
        return Result(label, label, match["score"])
    return Species(label, label, match["score"], common, match["scientific_name"])


def _shown(source: str) -> str:
    """Return the source of a model without local folders."""
    return os.path.basename(source.rstrip("/")) if os.path.exists(source) else source
