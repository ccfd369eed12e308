"""Hold embeddings with ids, labels and columns: a table without a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdembed.base.fingerprints import check_same_model
from birdembed.base.text import some
from birdembed.base.vectors import as_vectors, finite_rows
from birdembed.search import columns as columns_
from birdembed.search.columns import Column


class Rows:
    """A table of vectors with ids, labels, columns and the fingerprint of their model.

    Parameters
    ----------
    dim : int, optional
        Numbers of a vector. Default: those of the first that is added.
    fingerprint : str, optional
        Names the model the vectors come from.

    Attributes
    ----------
    ids, labels : list of str, or PackedStrings
        As they are stored: the strings of a file are decoded when asked for.
    columns : dict
        The other columns by name, strings or arrays of numbers.
    """

    def __init__(self, dim: int | None = None, fingerprint: str | None = None):
        if dim is not None and dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}")
        self.dim = dim
        self.fingerprint = fingerprint
        self.ids: Column = []
        self.labels: Column = []
        self.columns: dict[str, Column] = {}
        # Rows in use are the first len(self) of the buffer, which grows by doubling.
        self._buffer: NDArray[np.float32] = np.empty((0, dim or 0), np.float32)
        # Made when first needed, dropped when rows change:
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
    ) -> Rows:
        """Return the table of columns that fit each other; they are neither checked nor copied."""
        rows = cls(vectors.shape[1] or None, fingerprint)
        rows._buffer, rows.ids, rows.labels, rows.columns = vectors, ids, labels, columns
        return rows

    def plain(self) -> dict[str, Any]:
        """Return the arguments of `of` for this table, as lists and arrays alone."""
        return {
            "vectors": self.vectors,
            "ids": list(self.ids),
            "labels": list(self.labels),
            "columns": {
                name: column if isinstance(column, np.ndarray) else list(column)
                for name, column in self.columns.items()
            },
            "fingerprint": self.fingerprint,
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
        """Return the column `path`, None in each row where there is no such column."""
        return self.columns.get("path", [None] * len(self))

    @property
    def places(self) -> dict[str, int]:
        """Return the row number of each id."""
        if self._places is None:
            self._places = {id_: row for row, id_ in enumerate(self.ids) if id_ is not None}
        return self._places

    def objects(self, name: str) -> NDArray[np.object_]:
        """Return `ids`, `labels` or `paths` as a read-only array of Python objects."""
        if name not in self._objects:
            array = columns_.objects(getattr(self, name))
            array.flags.writeable = False
            self._objects[name] = array
        return self._objects[name]

    def column(self, name: str) -> Column:
        """Return the column `id`, `label` or one of the others; `ValueError` where it is none."""
        columns = {"id": self.ids, "label": self.labels, **self.columns}
        if name not in columns:
            raise ValueError(f"where: no column {name!r}; there are {', '.join(columns)}")
        return columns[name]

    def select(
        self, where: Mapping[str, Any] | None, exclude_ids: Iterable[str] | str | None
    ) -> NDArray[np.int64] | None:
        """Return the rows a search may find, ascending; None: all.

        Parameters
        ----------
        where : mapping, optional
            `{column: value or list of values}`.
        exclude_ids : iterable of str, optional
            Rows to leave out; ids that are not there count for nothing.

        Raises
        ------
        ValueError
            There is no such column.
        """
        keep = None
        for name, value in (where or {}).items():
            mask = columns_.matches(self.column(name), value)
            keep = mask if keep is None else keep & mask
        if exclude_ids is not None:
            names = [exclude_ids] if isinstance(exclude_ids, str) else exclude_ids
            places = self.places
            out = [places[name] for name in names if name in places]
            keep = np.ones(len(self), bool) if keep is None else keep
            keep[out] = False
        return None if keep is None else np.flatnonzero(keep).astype(np.int64)

    def check_fingerprint(self, other: str, what: str) -> None:
        """Raise `FingerprintMismatch` where `what` has another fingerprint than the rows."""
        advice = "build the index again with this model or use the index's own"
        check_same_model(what, other, "the index has", self.fingerprint, advice)

    # Changing ----------------------------------------------------------------------------

    def add(
        self,
        ids: Sequence[str] | str,
        embeddings: ArrayLike,
        labels: Sequence[str | None] | str | None = None,
        metadata: Any = None,
        fingerprint: str | None = None,
        replace: bool = False,
    ) -> None:
        """Add rows, all of them or none; arguments and errors are those of `Index.add`."""
        vectors, single = as_vectors(embeddings, "embeddings")
        if single and isinstance(ids, str):
            ids = [ids]
            labels = [labels] if labels is None or isinstance(labels, str) else labels
        names = _checked_ids(ids)
        self._check_vectors(names, vectors, fingerprint)
        n = len(names)
        tags = columns_.strings(labels, n, "labels")
        columns = columns_.from_metadata(metadata, n)
        places = self.places
        known = [name for name in names if name in places]
        if known and not replace:
            raise ValueError(
                f"ids {some(known)} are in the index already; replace=True replaces them"
            )
        old = np.asarray([places[name] for name in known], np.int64)
        replaced = np.asarray([name in places for name in names], bool)
        before, after = columns_.align(self.columns, len(self), columns, n)
        # From here on nothing can fail but memory.
        self._objects = {}
        if fingerprint is not None and self.fingerprint is None and len(self) == 0:
            self.fingerprint = fingerprint
        self._put_vectors(vectors, old, replaced)
        self.dim = vectors.shape[1]
        self.labels = columns_.merge(self.labels, tags, old, replaced)
        self.columns = {
            name: columns_.merge(before[name], after[name], old, replaced) for name in before
        }
        new = [name for name, there in zip(names, replaced.tolist(), strict=True) if not there]
        places.update(zip(new, range(len(self), len(self) + len(new)), strict=True))
        self.ids = self.ids if isinstance(self.ids, list) else [*self.ids]
        self.ids.extend(new)

    def _check_vectors(
        self, names: list[str], vectors: NDArray[np.float32], fingerprint: str | None
    ) -> None:
        """Raise an error where vectors do not fit their ids, the table or its model."""
        if len(vectors) != len(names):
            raise ValueError(
                f"ids and embeddings differ in length: {len(names)} and {len(vectors)}"
            )
        if self.dim is not None and vectors.shape[1] != self.dim:
            raise ValueError(
                f"embeddings have {vectors.shape[1]} dimensions, the index has {self.dim}"
            )
        if fingerprint is not None:
            self.check_fingerprint(fingerprint, "the embeddings")
        finite = finite_rows(vectors)
        if not finite.all():
            bad = [names[row] for row in np.flatnonzero(~finite)]
            raise ValueError(f"embeddings of {some(bad)} hold NaN or infinity")

    def _put_vectors(
        self, vectors: NDArray[np.float32], old: NDArray[np.int64], replaced: NDArray[np.bool_]
    ) -> None:
        """Write the replaced vectors at `old` and the others behind the last."""
        n, more = len(self), int((~replaced).sum())
        needed = n + more
        room, dim = self._buffer.shape
        if needed > room or dim != vectors.shape[1] or not self._buffer.flags.writeable:
            # The first rows get exactly the room they need: most indexes are filled once.
            room = needed if n == 0 else max(needed, 2 * n if more else n)
            buffer = np.empty((room, vectors.shape[1]), np.float32)
            if n:
                buffer[:n] = self._buffer[:n]
            self._buffer = buffer
        self._buffer[old] = vectors[replaced]
        self._buffer[n:needed] = vectors[~replaced] if len(old) else vectors

    def remove(self, ids: Sequence[str] | str) -> None:
        """Remove rows by id, all of them or none; `KeyError` where an id is not there."""
        names = [ids] if isinstance(ids, str) else list(ids)
        places = self.places
        missing = [name for name in names if name not in places]
        if missing:
            raise KeyError(f"ids {some(missing)} are not in the index")
        keep = np.ones(len(self), bool)
        keep[[places[name] for name in names]] = False
        self._buffer = self._buffer[: len(self)][keep]
        self.labels = columns_.take(self.labels, keep)
        self.columns = {name: columns_.take(column, keep) for name, column in self.columns.items()}
        self.ids = columns_.take(self.ids, keep)
        self._places, self._objects = None, {}


def _checked_ids(ids: Sequence[str] | str) -> list[str]:
    """Return ids as a list of strings, none of which comes twice."""
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
