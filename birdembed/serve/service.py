"""The service without HTTP: the species and the most similar photos for a vector."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from birdembed._version import __version__
from birdembed.base.fingerprints import check_same_model
from birdembed.base.species_names import SpeciesNames
from birdembed.base.system import get_num_threads
from birdembed.base.text import shortened
from birdembed.model.snapshot import Snapshot
from birdembed.model.stateful import snapshot_of
from birdembed.search import query as query_
from birdembed.search.index import Index
from birdembed.search.mapped_file import IndexFileError
from birdembed.search.results import SearchResult
from birdembed.search.rows import Rows
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
from birdembed.serve.batcher import Embedded
from birdembed.serve.thumbnails import Thumbnails, address, mark
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

CHANGED = (
    "the model was changed after the index was made, so the index cannot be searched; build the "
    "index again with this model, and restart the server with it"
)


class Missing(Exception):
    """The server has no index or gallery for the endpoint; the message says how to add it."""


class NoRow(Exception):
    """The index has no such row; the message says which."""


class Changed(Exception):
    """The model has changed, so that its vectors cannot be searched in the index."""


class Service:
    """The service of a model, with its gallery and an index, if they exist.

    In an application of its own, the model and the index may change at any time. Each answer comes
    from the one state of the model that computed the vector, and from one table of the index.
    """

    def __init__(self, model: Any, index: Index | None, photos: str | os.PathLike[str] | None):
        self.model = model
        self.index = index
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
        with contextlib.suppress(Missing):
            self.check_gallery()  # reads its file now, not while the first client waits

    def check_index(self) -> None:
        """Raise the error that a search would raise: `Missing`, `Changed` or `IndexFileError`."""
        self._table(snapshot_of(self.model))

    def check_gallery(self) -> None:
        """Raise `Missing` if no species can be identified."""
        _gallery(snapshot_of(self.model))

    def embedded(self, one: Embedded) -> Embedding:
        """Return the response for a vector."""
        return Embedding(one.vector.tolist(), len(one.vector), one.now.fingerprint)

    def found(self, one: Embedded, k: int, min_score: float | None = None) -> Found:
        """Return the most similar photos, without those below `min_score`."""
        found = _search(self._table(one.now), one, k, min_score=min_score)
        return Found([Result(match.id, match.label, match.score) for match in found], _close(found))

    def identified(self, given: Embedded, k: int) -> Identified:
        """Return the most similar species, and whether the best one reaches the threshold."""
        now = given.now
        rows, threshold = _gallery(now)
        assert now.gallery is not None  # `_gallery` raises an error without one
        (one,) = nearest_species(
            given.vector[None], rows, threshold, k, now.species_names, now.gallery.calibration
        )
        return Identified(
            species=one.species if one.known else None,
            score=one.score,
            known=bool(one.known),
            probability=one.probability,
            threshold=threshold,
            results=[_result(match) for match in one.to_dict()["matches"]],
        )

    def look(
        self, one: Embedded, k: int, n: int, example: int | None = None, of: str | None = None
    ) -> Look:
        """Return the k most similar species and n most similar photos, without row `example`."""
        identified = None
        with contextlib.suppress(Missing):
            identified = self.identified(one, k)
        if self.index is None:
            return Look(identified, None, None, None)
        rows = self._table(one.now)
        _check_example(rows, example, of)  # again: rows may have been removed
        found = _search(rows, one, n, example)
        names = one.now.species_names
        return Look(
            identified,
            _photographs(rows, found, names),
            _close(found),
            None if example is None else _example(rows, example, names),
        )

    def check_example(self, row: int | None, of: str | None) -> None:
        """Raise `NoRow` if the index has no such row, or it has another mark than `of`."""
        if row is not None:
            _check_example(None if self.index is None else rows_of(self.index), row, of)

    def _table(self, now: Snapshot) -> Rows:
        """Return the rows of the index, in which vectors of this state of the model are searched.

        Raises
        ------
        Missing
            There is no index.
        Changed
            The rows were computed by another state of the model.
        IndexFileError
            The file of the index was overwritten.
        """
        if self.index is None:
            raise Missing(NO_INDEX)
        rows = rows_of(self.index)
        other = rows.fingerprint not in (None, now.fingerprint)
        if other or rows.dim not in (None, now.dim(now.default_projection)):
            raise Changed(CHANGED)
        return rows

    def health(self) -> Health:
        """Return the state of the model and the index."""
        now, problem = snapshot_of(self.model), None
        species, no_gallery = None, None
        try:
            species = len(set(_gallery(now)[0].labels))
        except Missing as error:
            no_gallery = str(error)
        try:
            self._table(now)
        except Missing:
            pass
        except Changed as error:
            problem = str(error)
        except IndexFileError:  # its message has the path, which is not for clients
            problem = OVERWRITTEN
        return Health(
            status="ok" if problem is None else "error",
            version=__version__,
            model=_shown(now.source),
            architecture=now.architecture,
            embedding_dim=now.dim(now.default_projection),
            fingerprint=now.fingerprint,
            species=species,
            threshold=now.threshold,
            photographs=None if self.index is None else len(self.index),
            viewable=self.thumbnails is not None and self.thumbnails.viewable,
            no_gallery=no_gallery,
            no_index=NO_INDEX if self.index is None else None,
            problem=problem,
        )


def _gallery(now: Snapshot) -> tuple[Rows, float]:
    """Return the rows of the gallery and the threshold; raise `Missing` if they cannot be used."""
    if now.gallery is None:
        raise Missing(NO_GALLERY)
    try:
        return checked_gallery(now)
    except ValueError as error:
        raise Missing(str(error)) from None


def _search(
    rows: Rows,
    one: Embedded,
    k: int,
    example: int | None = None,
    min_score: float | None = None,
) -> SearchResult:
    """Search the rows, without row `example`."""
    without = None if example is None else [str(rows.ids[example])]
    asked = query_.interpret(one.vector)
    found = query_.search(rows, None, asked, k, exclude_ids=without, min_score=min_score)
    found.threshold = one.now.threshold  # the rows do not know their model
    return found


def _close(found: SearchResult) -> bool | None:
    """Return whether the best match is close; None without a threshold, even without a match."""
    return None if found.threshold is None else found.close


def _check_example(rows: Rows | None, row: int | None, of: str | None) -> None:
    if row is None:
        return
    if rows is None or row >= len(rows):
        raise NoRow(f"example: the index has no row {shortened(str(row), 20)}")
    if of not in (None, mark(rows, row)):
        raise NoRow(f"example: row {row} of the index is another photo now; choose another one")


def _example(rows: Rows, row: int, names: SpeciesNames) -> Example:
    label = rows.labels[row]
    return Example(str(rows.ids[row]), label, _named(label, names)[0])


def _photographs(rows: Rows, found: SearchResult, names: SpeciesNames) -> list[Photograph]:
    return [
        Photograph(
            match.id,
            match.label,
            float(match.score),
            f"thumbnail/{address(rows, row)}",
            f"photo/{address(rows, row)}",
            *_named(match.label, names),
        )
        for match, row in zip(found, found.indices.tolist(), strict=True)
    ]


def _named(label: str | None, names: SpeciesNames) -> tuple[str | None, str | None]:
    """Return the common and the scientific name of a label, or None."""
    common, scientific = names.get(label or "", ("", ""))
    return common or None, scientific or None


def _result(match: dict[str, Any]) -> Species | Result:
    """Return the response for a match of `Identification.to_dict`."""
    label, common = match["species"], match["common_name"]
    if common is None:
        return Result(label, label, match["score"])
    return Species(label, label, match["score"], common, match["scientific_name"])


def _shown(source: str) -> str:
    """Return the source of a model without local folders."""
    return os.path.basename(source.rstrip("/")) if os.path.exists(source) else source
