"""A table of embeddings with ids, labels and columns, without a model."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdembed.base.checks import check_integer, check_string
from birdembed.base.fingerprints import check_same_model
from birdembed.base.makers import Maker
from birdembed.base.text import composed, shown, some
from birdembed.base.vectors import finite_rows
from birdembed.search import columns as columns_
from birdembed.search.columns import Column
from birdembed.search.growing_strings import GrowingStrings
from birdembed.search.mapped_file import MappedFile
from birdembed.search.new_rows import NewRows, id_list


class Rows:
    """A table of vectors with ids, labels, columns and the fingerprint of their model.

    A table is immutable: `added` and `removed` return a new one, so threads can keep reading the
    table they hold. Data shared between tables is only appended to.

    Parameters
    ----------
    dim : int, optional
        Dimension of the vectors. Default: that of the first vector added.
    fingerprint : str, optional
        Fingerprint of the model that computed the vectors.
    maker : Maker, optional
        Name and path of that model.

    Attributes
    ----------
    ids, labels : sequences of str
        As stored; strings of a file are decoded on access.
    columns : dict
        The other columns by name, strings or arrays of numbers.
    """

    def __init__(
        self,
        dim: int | None = None,
        fingerprint: str | None = None,
        maker: Maker | None = None,
    ):
        if fingerprint is not None:
            check_string("fingerprint", fingerprint)
        self.dim = None if dim is None else check_integer("dim", dim, 1)
        self.fingerprint = fingerprint
        self.maker = maker
        self.ids: Column = []
        self.labels: Column = []
        self.columns: dict[str, Column] = {}
        # The vectors are the first len(self) rows of the buffer, which doubles when full.
        self._buffer: NDArray[np.float32] = np.empty((0, dim or 0), np.float32)
        self._file: MappedFile | None = None
        # Created on first use. The row numbers are shared with later tables, see `place`.
        self._places: dict[str, int] | None = None
        self._objects: dict[str, NDArray[np.object_]] = {}

    @classmethod
    def of(
        cls,
        vectors: NDArray[np.float32],
        ids: Column,
        labels: Column,
        columns: dict[str, Column],
        fingerprint: str | None = None,
        file: MappedFile | None = None,
        maker: Maker | None = None,
    ) -> Rows:
        """Return a table of columns of equal length, without checking or copying them.

        `file` is the file they are mapped from, if any.
        """
        rows = cls(vectors.shape[1] or None, fingerprint, maker)
        rows._buffer, rows.ids, rows.labels, rows.columns = vectors, ids, labels, columns
        rows._file = file
        return rows

    def with_fingerprint(self, fingerprint: str | None) -> Rows:
        """Return the same table with another fingerprint."""
        if fingerprint is not None:
            check_string("fingerprint", fingerprint)
        rows = copy.copy(self)
        rows.fingerprint = fingerprint
        return rows

    def made_by(self, maker: Maker | None) -> Rows:
        """Return the same table with a record of its model; None keeps the current one."""
        rows = copy.copy(self)
        rows.maker = maker or self.maker
        return rows

    def check_file(self) -> None:
        """Raise `IndexFileError` if the file that the table is mapped from was overwritten."""
        if self._file is not None:
            self._file.check()

    def plain(self) -> dict[str, Any]:
        """Return the arguments of `of` for this table as plain lists and arrays."""
        return {
            "vectors": self.vectors,
            "ids": list(self.ids),
            "labels": list(self.labels),
            "columns": {
                name: column if isinstance(column, np.ndarray) else list(column)
                for name, column in self.columns.items()
            },
            "fingerprint": self.fingerprint,
            "maker": self.maker,
        }

    # Reading -----------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """Return the vectors, `(n, dim)` float32, read-only."""
        view = self._buffer[: len(self)]
        view.flags.writeable = False
        return view

    @property
    def paths(self) -> Column:
        """Return the column `path`; all None if there is no such column."""
        return self.columns.get("path", [None] * len(self))

    def place(self, id_: str) -> int | None:
        """Return the row number of an id, or None if it is not in the table."""
        if self._places is None:
            self._places = {
                composed(name): row for row, name in enumerate(self.ids) if name is not None
            }
        if not isinstance(id_, str):
            return None
        id_ = composed(id_)
        row = self._places.get(id_)
        if row is None or row >= len(self):
            return None
        # Tables derived from this one share the dict and add their rows to it.
        there = self.ids[row]
        return row if there is not None and composed(there) == id_ else None

    def objects(self, name: str) -> NDArray[np.object_]:
        """Return `ids`, `labels` or `paths` as a read-only array of Python objects."""
        if name not in self._objects:
            array = columns_.objects(getattr(self, name))
            array.flags.writeable = False
            self._objects[name] = array
        return self._objects[name]

    def column(self, name: str) -> Column:
        """Return the column `id`, `label` or another one; raise a ValueError if it is unknown."""
        columns = {"id": self.ids, "label": self.labels, **self.columns}
        if name not in columns:
            raise ValueError(f"where: no column {name!r}; the columns are {', '.join(columns)}")
        return columns[name]

    def select(
        self, where: Mapping[str, Any] | None, exclude_ids: Iterable[str] | str | None
    ) -> NDArray[np.int64] | None:
        """Return the rows to search, ascending; None means all rows.

        Parameters
        ----------
        where : mapping, optional
            `{column: value or list of values}`.
        exclude_ids : iterable of str, optional
            Ids to exclude; unknown ids are ignored.

        Raises
        ------
        ValueError
            There is no such column, or it holds values of another type.
        """
        keep = None
        if not isinstance(where, (Mapping, type(None))):
            raise TypeError(f"where must be a mapping of columns to values, got {shown(where)}")
        for name, value in (where or {}).items():
            mask = columns_.matches(name, self.column(name), value)
            keep = mask if keep is None else keep & mask
        if exclude_ids is not None:
            names = id_list(exclude_ids, "exclude_ids")
            out = [row for name in names if (row := self.place(name)) is not None]
            keep = np.ones(len(self), bool) if keep is None else keep
            keep[out] = False
        return None if keep is None else np.flatnonzero(keep).astype(np.int64)

    def check_fingerprint(self, other: str, what: str) -> None:
        """Raise `FingerprintMismatch` if `what` and the rows have different fingerprints."""
        advice = "build the index again with this model, or use the model of the index"
        own = "the index" if self.maker is None else f"the index, made with {self.maker},"
        check_same_model(what, other, own, self.fingerprint, advice)

    # Changing ----------------------------------------------------------------------------

    def added(
        self,
        ids: Sequence[str] | str,
        embeddings: ArrayLike,
        labels: Sequence[str | None] | str | None = None,
        metadata: Any = None,
        fingerprint: str | None = None,
        replace: bool = False,
    ) -> Rows:
        """Return a table with added rows; arguments and errors as for `Index.add`."""
        return self.with_rows(NewRows.of(ids, embeddings, labels, metadata), fingerprint, replace)

    def with_rows(self, new: NewRows, fingerprint: str | None, replace: bool) -> Rows:
        """Return a table with added rows; see `added`."""
        names, vectors, tags, columns = new
        n = len(names)
        if not n and not vectors.shape[1]:
            return self  # of an empty list the dimension is unknown
        self._check_vectors(names, vectors, fingerprint)
        places = [self.place(name) for name in names]
        known = [name for name, row in zip(names, places, strict=True) if row is not None]
        if known and not replace:
            raise ValueError(
                f"ids {some(known)} are already in the index; use replace=True to replace them"
            )
        old = np.asarray([row for row in places if row is not None], np.int64)
        replaced = np.asarray([row is not None for row in places], bool)
        before, after = columns_.align(self.columns, len(self), columns, n)
        rows = Rows(vectors.shape[1], self.fingerprint, self.maker)
        if fingerprint is not None and self.fingerprint is None and len(self) == 0:
            rows.fingerprint = fingerprint
        rows._buffer = self._with_vectors(vectors, old, replaced)
        rows.labels = columns_.merge(self.labels, tags, old, replaced)
        rows.columns = {
            name: columns_.merge(before[name], after[name], old, replaced) for name in before
        }
        more = [name for name, row in zip(names, places, strict=True) if row is None]
        nothing = np.empty(0, np.int64)
        # Ids are written last: until they grow, the other columns can be written again.
        rows.ids = columns_.merge(self.ids, more, nothing, np.zeros(len(more), bool))
        if self._places is not None:
            self._places.update(zip(map(composed, more), range(len(self), len(rows)), strict=True))
            rows._places = self._places
        return rows

    def _check_vectors(
        self, names: list[str], vectors: NDArray[np.float32], fingerprint: str | None
    ) -> None:
        """Raise an error if the vectors do not match their ids, the table or its model."""
        if self.dim is not None and vectors.shape[1] != self.dim:
            raise ValueError(
                f"embeddings have {vectors.shape[1]} dimensions, the index has {self.dim}"
            )
        if fingerprint is not None:
            self.check_fingerprint(fingerprint, "the embeddings")
        finite = finite_rows(vectors)
        if not finite.all():
            bad = [names[row] for row in np.flatnonzero(~finite)]
            raise ValueError(f"embeddings of {some(bad)} contain NaN or infinity")

    def _with_vectors(
        self, vectors: NDArray[np.float32], old: NDArray[np.int64], replaced: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return a buffer with the replaced vectors at `old` and the others appended."""
        n, more = len(self), int((~replaced).sum())
        needed = n + more
        buffer = self._buffer
        free = isinstance(self.ids, GrowingStrings) and self.ids.is_newest
        room, dim = buffer.shape
        if len(old) or not free or needed > room or dim != vectors.shape[1]:
            # The first rows get exactly the space they need: most indexes are filled once.
            room = needed if n == 0 else max(needed, 2 * n if more else n)
            buffer = np.empty((room, vectors.shape[1]), np.float32)
            if n:
                buffer[:n] = self._buffer[:n]
        buffer[old] = vectors[replaced]
        buffer[n:needed] = vectors[~replaced] if len(old) else vectors
        return buffer

    def removed(self, names: list[str]) -> Rows:
        """Return the table without the ids `names`; raise a KeyError if one is missing."""
        places = [self.place(name) for name in names]
        missing = [name for name, row in zip(names, places, strict=True) if row is None]
        if missing:
            raise KeyError(f"ids {some(missing)} are not in the index")
        keep = np.ones(len(self), bool)
        keep[[row for row in places if row is not None]] = False
        rows = Rows(self.dim, self.fingerprint, self.maker)
        rows._buffer = self._buffer[: len(self)][keep]
        rows.labels = columns_.take(self.labels, keep)
        rows.columns = {name: columns_.take(column, keep) for name, column in self.columns.items()}
        rows.ids = columns_.take(self.ids, keep)
        return rows
