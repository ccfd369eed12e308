"""Rows shared by threads, any of which may change them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdembed.base.checks import check_boolean
from birdembed.base.locks import WaitingLock
from birdembed.search import columns as columns_
from birdembed.search.new_rows import NewRows, id_list
from birdembed.search.rows import Rows


def rows_of(shared: SharedRows) -> Rows:
    """Return the current rows of an index as an immutable table.

    Raises
    ------
    IndexFileError
        The file that they are mapped from was overwritten since it was loaded.
    """
    rows = shared._rows
    rows.check_file()
    return rows


class SharedRows:
    """Embeddings with ids, labels and metadata: an `Index` without its model.

    Each change installs a new table, so that running reads continue with the old one.

    Parameters
    ----------
    rows : Rows
        The initial rows.
    """

    def __init__(self, rows: Rows):
        self._rows = rows
        self._lock = WaitingLock()

    # Content -----------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    @property
    def dim(self) -> int | None:
        """Dimension of the embeddings; None until it is known."""
        return self._rows.dim

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the model that computed the embeddings; None until it is known."""
        return self._rows.fingerprint

    @fingerprint.setter
    def fingerprint(self, value: str | None) -> None:
        with self._lock.held():
            self._rows = self._rows.with_fingerprint(value)

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """`(n, dim)` float32, read-only, as added.

        In an index loaded with ``mmap=True`` the array is a view of the file, not a copy. Do not
        keep it if another program may overwrite or cut the file, because reading it then ends the
        process; copy it (``np.array(index.embeddings)``) or load with ``mmap=False``.
        """
        return rows_of(self).vectors

    @property
    def ids(self) -> NDArray[np.object_]:
        """`(n,)` strings."""
        return rows_of(self).objects("ids")

    @property
    def labels(self) -> NDArray[np.object_]:
        """`(n,)` strings; None for a row without a label."""
        return rows_of(self).objects("labels")

    @property
    def paths(self) -> NDArray[np.object_]:
        """The metadata column `path`: `(n,)` strings; None for a row without a path."""
        return rows_of(self).objects("paths")

    @property
    def metadata(self) -> dict[str, NDArray[Any]]:
        """The other columns by name, `(n,)` each."""
        return columns_.arrays(rows_of(self).columns)

    def __contains__(self, id_: str) -> bool:
        """Return whether an id is in the index."""
        return rows_of(self).place(id_) is not None

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
        """Add rows. On an error, no row is added.

        Parameters
        ----------
        ids : sequence of str
            One id per row, unique in the index; a single string for a single vector.
        embeddings : array
            `(n, dim)` floats, `(dim,)` for a single vector.
        labels : sequence of str, optional
            Species, one per row; None for a row without a label.
        metadata : mapping, DataFrame or list of dicts, optional
            More columns of strings, numbers or booleans, one value per row.
        fingerprint : str, optional
            Fingerprint of the model that computed the embeddings; checked against the index. An
            empty index without a fingerprint adopts it.
        replace : bool
            Replace rows that have the same id. By default, an existing id is an error.

        Raises
        ------
        ValueError
            Lengths or dimensions do not match, an id is a duplicate or already exists, or a row
            contains NaN or infinity (the message gives its id).
        FingerprintMismatch
            The embeddings come from another model.
        """
        replace = check_boolean("replace", replace)
        # Outside the lock: an iterable may use this index itself.
        new = NewRows.of(ids, embeddings, labels, metadata)
        with self._lock.held():
            self._rows = rows_of(self).with_rows(new, fingerprint, replace)

    def remove(self, ids: Sequence[str] | str) -> None:
        """Remove the rows of one or many `ids`; if one is missing, raise a KeyError only."""
        names = id_list(ids, "ids")
        with self._lock.held():
            self._rows = rows_of(self).removed(names)
