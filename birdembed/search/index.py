"""The index: embeddings with ids, labels and metadata."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdembed._core import FingerprintMismatch
from birdembed.base.text import some
from birdembed.base.vectors import as_vectors, finite_rows
from birdembed.images.report import EncodeReport
from birdembed.search import columns as columns_
from birdembed.search.cosine import search_rows
from birdembed.search.index_file import Column, IndexFileError, read_index, write_index
from birdembed.search.index_stores import IndexStores
from birdembed.search.results import SearchResult

if TYPE_CHECKING:
    from birdembed.data.folder import ImageFolder

__all__ = ["Index", "IndexFileError", "SearchResult"]


class Index(IndexStores):
    """Embeddings with ids, labels and metadata.

    Parameters
    ----------
    dim : int, optional
        Numbers of an embedding. Default: those of the first that is added.
    fingerprint : str, optional
        Names the model the embeddings come from. Default: `model.fingerprint`.
    model : Model, optional
        Encodes queries that are images.

    Attributes
    ----------
    report : EncodeReport or None
        What became of each image, after `build`.
    """

    report: EncodeReport | None = None

    def __init__(self, dim: int | None = None, fingerprint: str | None = None, model: Any = None):
        if dim is not None and dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}")
        self._dim = dim
        self.model = model
        self.fingerprint = fingerprint
        if model is not None:
            if fingerprint is None:
                self.fingerprint = model.fingerprint
            self._check_fingerprint(model.fingerprint, "the model")
        # Rows in use are the first len(self) of the buffer, which grows by doubling.
        self._buffer: NDArray[np.float32] = np.empty((0, dim or 0), np.float32)
        self._ids: Column = []
        self._labels: Column = []
        self._metadata: dict[str, Column] = {}
        # Made when first needed, dropped when rows change:
        self._rows: dict[str, int] | None = None  # row of each id
        self._objects: dict[str, NDArray[np.object_]] = {}  # what ids, labels and paths return

    # What it holds -----------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._ids)

    @property
    def dim(self) -> int | None:
        """Numbers of an embedding; None as long as nothing says."""
        return self._dim

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """`(n, dim)` float32, read-only, as they were added."""
        view = self._buffer[: len(self)]
        view.flags.writeable = False
        return view

    @property
    def ids(self) -> NDArray[np.object_]:
        """`(n,)` strings."""
        return self._as_objects("ids", self._ids)

    @property
    def labels(self) -> NDArray[np.object_]:
        """`(n,)` strings, None where a row has no label."""
        return self._as_objects("labels", self._labels)

    @property
    def paths(self) -> NDArray[np.object_]:
        """`(n,)` strings, None where a row has no path: the metadata column `path`."""
        return self._as_objects("paths", self._metadata.get("path", [None] * len(self)))

    def _as_objects(self, name: str, column: Column) -> NDArray[np.object_]:
        if name not in self._objects:
            array = columns_.objects(column)
            array.flags.writeable = False
            self._objects[name] = array
        return self._objects[name]

    @property
    def metadata(self) -> dict[str, NDArray[Any]]:
        """The other columns by name, `(n,)` each."""
        return {
            name: column if isinstance(column, np.ndarray) else columns_.objects(column)
            for name, column in self._metadata.items()
        }

    def __contains__(self, id_: str) -> bool:
        """Tell whether an id is there."""
        return id_ in self._row_of()

    def __repr__(self) -> str:
        """Say how many rows of what."""
        text = f"Index({len(self)} rows"
        text += f" of {self._dim} numbers" if self._dim else ""
        named = [label for label in self._labels if label is not None] if len(self) < 1e6 else []
        text += f", {len(set(named))} labels" if named else ""
        text += f", columns {', '.join(self._metadata)}" if self._metadata else ""
        text += f", fingerprint {self.fingerprint[:12]}" if self.fingerprint else ""
        return text + (")" if self.model is None else ", with a model)")

    def _repr_html_(self) -> str:
        from birdembed.search.index_html import index_html

        return index_html(self, self._ids, self._labels, self._metadata)

    def _row_of(self) -> dict[str, int]:
        if self._rows is None:
            self._rows = {id_: row for row, id_ in enumerate(self._ids) if id_ is not None}
        return self._rows

    # Adding and removing -----------------------------------------------------------------

    def add(
        self,
        ids: Sequence[str] | str,
        embeddings: ArrayLike,
        labels: Sequence[str | None] | str | None = None,
        metadata: Any = None,
        fingerprint: str | None = None,
        replace: bool = False,
    ) -> None:
        """Add rows; all of them or, on an error, none.

        Parameters
        ----------
        ids : sequence of str
            One a row, unique in the index; a single string for a single vector.
        embeddings : array
            `(n, dim)` floats, `(dim,)` for a single vector.
        labels : sequence of str, optional
            Species, one a row; None where there is none.
        metadata : mapping, DataFrame or list of dicts, optional
            More columns: strings, numbers or booleans, one a row.
        fingerprint : str, optional
            Of the model the embeddings come from; checked against the index's. An empty index
            without one takes it over.
        replace : bool
            Rows whose id is there already take its place, instead of being an error.

        Raises
        ------
        ValueError
            Lengths or dimensions do not fit, an id comes twice or is there already, or a row holds
            NaN or infinity (its id is named).
        FingerprintMismatch
            The embeddings come from another model.
        """
        vectors, single = as_vectors(embeddings, "embeddings")
        if single and isinstance(ids, str):
            ids = [ids]
            labels = [labels] if labels is None or isinstance(labels, str) else labels
        names = _checked_ids(ids)
        n = len(names)
        if len(vectors) != n:
            raise ValueError(f"ids and embeddings differ in length: {n} and {len(vectors)}")
        if self._dim is not None and vectors.shape[1] != self._dim:
            raise ValueError(
                f"embeddings have {vectors.shape[1]} dimensions, the index has {self._dim}"
            )
        if fingerprint is not None:
            self._check_fingerprint(fingerprint, "the embeddings")
        finite = finite_rows(vectors)
        if not finite.all():
            bad = [names[row] for row in np.flatnonzero(~finite)]
            raise ValueError(f"embeddings of {some(bad)} hold NaN or infinity")
        tags = columns_.strings(labels, n, "labels")
        columns = columns_.from_metadata(metadata, n)
        rows = self._row_of()
        known = [name for name in names if name in rows]
        if known and not replace:
            raise ValueError(
                f"ids {some(known)} are in the index already; replace=True replaces them"
            )
        old = np.asarray([rows[name] for name in known], np.int64)
        replaced = np.asarray([name in rows for name in names], bool)
        before, after = columns_.align(self._metadata, len(self), columns, n)
        # From here on nothing can fail but memory.
        self._objects = {}
        if fingerprint is not None and self.fingerprint is None and len(self) == 0:
            self.fingerprint = fingerprint
        self._put_vectors(vectors, old, replaced)
        self._dim = vectors.shape[1]
        self._labels = columns_.merge(self._labels, tags, old, replaced)
        self._metadata = {
            name: columns_.merge(before[name], after[name], old, replaced) for name in before
        }
        new = [name for name, there in zip(names, replaced.tolist(), strict=True) if not there]
        rows.update(zip(new, range(len(self), len(self) + len(new)), strict=True))
        self._ids = [*self._ids] if not isinstance(self._ids, list) else self._ids
        self._ids.extend(new)

    def _put_vectors(
        self, vectors: NDArray[np.float32], old: NDArray[np.int64], replaced: NDArray[np.bool_]
    ) -> None:
        """Write the rows to be replaced at `old`, the others behind the last."""
        n, more = len(self), int((~replaced).sum())
        needed = n + more
        if needed > len(self._buffer) or not self._buffer.flags.writeable:
            # The first rows get exactly the room they need: most indexes are filled once.
            room = needed if n == 0 else max(needed, 2 * n if more else n)
            buffer = np.empty((room, vectors.shape[1]), np.float32)
            if n:
                buffer[:n] = self._buffer[:n]
            self._buffer = buffer
        self._buffer[old] = vectors[replaced]
        self._buffer[n:needed] = vectors[~replaced] if len(old) else vectors

    def remove(self, ids: Sequence[str] | str) -> None:
        """Remove rows by id.

        Parameters
        ----------
        ids : sequence of str, or str

        Raises
        ------
        KeyError
            An id is not in the index; nothing is removed then.
        """
        names = [ids] if isinstance(ids, str) else list(ids)
        rows = self._row_of()
        missing = [name for name in names if name not in rows]
        if missing:
            raise KeyError(f"ids {some(missing)} are not in the index")
        keep = np.ones(len(self), bool)
        keep[[rows[name] for name in names]] = False
        self._buffer = self._buffer[: len(self)][keep]
        self._labels = columns_.take(self._labels, keep)
        self._metadata = {
            name: columns_.take(column, keep) for name, column in self._metadata.items()
        }
        self._ids = columns_.take(self._ids, keep)
        self._rows, self._objects = None, {}

    # Searching ---------------------------------------------------------------------------

    def search(
        self,
        query: Any,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        exclude_ids: Iterable[str] | str | None = None,
        fingerprint: str | None = None,
    ) -> SearchResult:
        """Find the rows most like the query, exactly.

        Parameters
        ----------
        query
            Images (paths, bytes, PIL images, uint8 arrays, an `ImageFolder`), encoded by the
            index's model, or embeddings (float arrays); one or many.
        k : int
            Matches a query.
        where : mapping, optional
            `{column: value or list of values}`: only rows that have one of them in each column. The
            columns are `id`, `label` and those of the metadata.
        exclude_ids : iterable of str, optional
            Rows to leave out, such as the query itself.
        fingerprint : str, optional
            Of the model that embeddings come from, to be checked.

        Returns
        -------
        SearchResult
            For one query arrays of `(k,)`, for many `(q, k)`; fewer columns where fewer rows are
            left.

        Raises
        ------
        FingerprintMismatch
            The query comes from another model than the index.
        ValueError
            There is no model to encode an image, dimensions differ, or `k` is below 1.
        """
        from birdembed.search import query as query_

        asked = query_.interpret(query)
        if asked.vectors is None:
            if self.model is None:
                raise ValueError(
                    "the query is an image and the index has no model: pass model= to the Index, "
                    "to Index.load, or encode the image first"
                )
            self._check_fingerprint(self.model.fingerprint, "the index's model")
            asked.vectors = self.model.encode(asked.images)
        if fingerprint is not None:
            self._check_fingerprint(fingerprint, "the query")
        vectors, single = as_vectors(asked.vectors, "query")
        if self._dim is not None and vectors.shape[1] != self._dim:
            raise ValueError(
                f"the query has {vectors.shape[1]} dimensions, the index has {self._dim}"
            )
        rows = self._selected(where, exclude_ids)
        found = len(self) if rows is None else len(rows)
        corpus = self._buffer[: len(self)] if len(self) else np.empty((0, vectors.shape[1]), "f4")
        scores, indices = search_rows(vectors, corpus, k, rows=rows)
        scores, indices = scores[:, :found], indices[:, :found]
        result = SearchResult(
            scores,
            indices,
            columns_.gather(self._ids, indices),
            columns_.gather(self._labels, indices),
            columns_.gather(self._metadata.get("path", [None] * len(self)), indices),
            asked.names,
            asked.shown,
        )
        return result[0] if single else result

    def _selected(
        self, where: Mapping[str, Any] | None, exclude_ids: Iterable[str] | str | None
    ) -> NDArray[np.int64] | None:
        """Return the rows a search may find, ascending; None: all."""
        keep = None
        for name, value in (where or {}).items():
            mask = columns_.matches(self._column(name), value)
            keep = mask if keep is None else keep & mask
        if exclude_ids is not None:
            names = [exclude_ids] if isinstance(exclude_ids, str) else exclude_ids
            rows = self._row_of()
            out = [rows[name] for name in names if name in rows]
            keep = np.ones(len(self), bool) if keep is None else keep
            keep[out] = False
        return None if keep is None else np.flatnonzero(keep).astype(np.int64)

    def _column(self, name: str) -> Column:
        columns = {"id": self._ids, "label": self._labels, **self._metadata}
        if name not in columns:
            raise ValueError(f"where: no column {name!r}; there are {', '.join(columns)}")
        return columns[name]

    def _check_fingerprint(self, other: str, what: str) -> None:
        if self.fingerprint is not None and other != self.fingerprint:
            raise FingerprintMismatch(
                f"{what} has the fingerprint {other[:12]}, the index has {self.fingerprint[:12]}: "
                "vectors of different models cannot be compared; build the index again with this "
                "model or use the index's own"
            )

    # Files -------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one file, whole or not at all.

        Parameters
        ----------
        path : str or Path
            An older file there is replaced.

        Raises
        ------
        OSError
            The file cannot be written; it is named, and an older one stays as it was.
        """
        columns: dict[str, Column] = {"id": self._ids, "label": self._labels}
        columns |= {f"metadata.{name}": column for name, column in self._metadata.items()}
        info = {} if self.fingerprint is None else {"fingerprint": self.fingerprint}
        embeddings = self._buffer[: len(self)]
        if not len(self) and self._dim:
            embeddings = np.empty((0, self._dim), np.float32)
        write_index(path, embeddings, columns, info)

    @classmethod
    def load(cls, path: str | os.PathLike[str], mmap: bool = True, model: Any = None) -> Index:
        """Read an index that `save` wrote.

        Parameters
        ----------
        path : str or Path
            The file.
        mmap : bool
            Map the embeddings instead of reading them: an index larger than memory can be searched,
            and several processes share one copy.
        model : Model, optional
            Encodes queries that are images.

        Returns
        -------
        Index

        Raises
        ------
        IndexFileError
            The file is no index, or damaged; it is a `ValueError`.
        FingerprintMismatch
            The index was made by another model than `model`.
        OSError
            The file cannot be read.
        """
        embeddings, columns, info = read_index(path, mapped=mmap)
        for name in ("id", "label"):
            if name not in columns or isinstance(columns[name], np.ndarray):
                raise IndexFileError(f"{os.fspath(path)}: the index has no column {name}")
        index = cls(embeddings.shape[1] or None, info.get("fingerprint"), model)
        index._buffer = embeddings
        index._ids, index._labels = columns.pop("id"), columns.pop("label")
        index._metadata = {
            name.removeprefix("metadata."): column for name, column in columns.items()
        }
        return index

    @classmethod
    def build(
        cls,
        model: Any,
        images: str | os.PathLike[str] | ImageFolder | Iterable[Any],
        ids: Sequence[str] | None = None,
        labels: Sequence[str | None] | None = None,
        metadata: Any = None,
        cache: str | os.PathLike[str] | None = None,
        on_error: str = "skip",
        show_progress_bar: bool | None = None,
    ) -> Index:
        """Embed images and make an index of them.

        Parameters
        ----------
        model : Model
            Encodes the images, and later the queries.
        images : folder, ImageFolder or iterable of images
            Of a folder: all images below it, in the order of their names.
        ids : sequence of str, optional
            Default: paths relative to the folder; of a list the paths as given, or else the
            positions.
        labels : sequence of str, optional
            Default: an image's class, or the first folder of its relative path.
        metadata : mapping, DataFrame or list of dicts, optional
            More columns, one value an image. Without a column `path` the absolute path is one.
        cache : str or Path, optional
            Folder that keeps finished rows by the content of their files and by the model: a second
            run computes only what is missing.
        on_error : {"skip", "raise"}
            What to do about an image that cannot be read; `index.report` names those left out.
        show_progress_bar : bool, optional
            Default: in a terminal or notebook only.

        Returns
        -------
        Index
            Rows in the order of the images, with `report`.

        Raises
        ------
        OSError, ValueError
            There is no such folder or no image in it, an argument does not fit the images.
        TypeError
            Something is no image.
        DecodeError
            With ``on_error="raise"``: an image cannot be read; it is named.
        """
        from birdembed.search import building

        task = building.collect(images, ids, labels, metadata)
        vectors, report = building.embed(model, task.images, cache, on_error, show_progress_bar)
        index = cls(vectors.shape[1] or None, model=model)
        kept = np.asarray(report.kept, np.int64)
        if len(kept):
            index.add(
                [task.ids[row] for row in kept],
                vectors,
                [task.labels[row] for row in kept],
                {name: columns_.take(column, kept) for name, column in task.metadata.items()},
            )
        index.report = report
        return index


def _checked_ids(ids: Sequence[str] | str) -> list[str]:
    if isinstance(ids, str):
        raise TypeError("ids must be a sequence of strings, got one string")
    names = list(ids)
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise TypeError(f"ids must be strings, got {type(wrong[0]).__name__} ({wrong[0]!r})")
    names = [str(name) for name in names]  # NumPy's strings become ordinary ones
    if len(set(names)) != len(names):
        seen: set[str] = set()
        twice = [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
        raise ValueError(f"ids {some(twice)} come twice")
    return names
