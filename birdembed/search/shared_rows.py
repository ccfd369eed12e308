"""Rows that threads share, and any of them may change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdembed.base.locks import WaitingLock
from birdembed.search import columns as columns_
from birdembed.search.rows import Rows


def rows_of(shared: SharedRows) -> Rows:
    """Return the rows an index has now, in a table that never changes.

    Raises
    ------
    IndexFileError
        The file that they are mapped from was written into since it was loaded.
    """
    rows = shared._rows
    rows.check_file()
    return rows


class SharedRows:
    """Embeddings with ids, labels and metadata: what `Index` is without its model.

    A change puts another table in place, so that who reads goes on with the one it has.

    Parameters
    ----------
    rows : Rows
        What it holds at first.
    """

    def __init__(self, rows: Rows):
        self._rows = rows
        self._lock = WaitingLock()

    # What it holds -----------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    @property
    def dim(self) -> int | None:
        """Numbers of an embedding; None as long as nothing says."""
        return self._rows.dim

    @property
    def fingerprint(self) -> str | None:
        """Name of the model the embeddings come from; None as long as nothing says."""
        return self._rows.fingerprint

    @fingerprint.setter
    def fingerprint(self, value: str | None) -> None:
        with self._lock.held():
            self._rows = self._rows.with_fingerprint(value)

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """`(n, dim)` float32, read-only, as they were added."""
        return rows_of(self).vectors

    @property
    def ids(self) -> NDArray[np.object_]:
        """`(n,)` strings."""
        return rows_of(self).objects("ids")

    @property
    def labels(self) -> NDArray[np.object_]:
        """`(n,)` strings, None where a row has no label."""
        return rows_of(self).objects("labels")

    @property
    def paths(self) -> NDArray[np.object_]:
        """`(n,)` strings, None where a row has no path: the metadata column `path`."""
        return rows_of(self).objects("paths")

    @property
    def metadata(self) -> dict[str, NDArray[Any]]:
        """The other columns by name, `(n,)` each."""
        return columns_.arrays(rows_of(self).columns)

    def __contains__(self, id_: str) -> bool:
        """Tell whether an id is there."""
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
        with self._lock.held():
            self._rows = rows_of(self).added(
                ids, embeddings, labels, metadata, fingerprint, replace
            )

    def remove(self, ids: Sequence[str] | str) -> None:
        """Remove the rows of `ids`, one or many: all of them or, on a `KeyError`, none."""
        with self._lock.held():
            self._rows = rows_of(self).removed(ids)
