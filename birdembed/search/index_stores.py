"""Indexes in other stores: LanceDB, Parquet, Faiss, DataFrames."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pandas

    from birdembed.search.index import Index


class IndexStores:
    """What `Index` has from here.

    Tables have the columns `id`, `path`, `label`, `vector` and those of the metadata. LanceDB and
    Parquet keep the fingerprint with the table.
    """

    def to_lancedb(self, uri: Any, table: str, mode: str = "overwrite") -> Any:
        """Write the index to a table of LanceDB.

        Parameters
        ----------
        uri : str, Path or lancedb connection
            The database: a folder, or an address that LanceDB knows, such as ``s3://...``.
        table : str
            Name of the table.
        mode : {"overwrite", "create", "merge"}
            About a table that is there already: replace it (LanceDB keeps the version before);
            ``ValueError``; add to it, a row taking the place of one with the same id.

        Returns
        -------
        lancedb.table.Table
            Search it by ``.search(vector).distance_type("cosine")``, or with
            `birdembed.integrations.lancedb.search`, which checks the fingerprint.

        Raises
        ------
        FingerprintMismatch
            ``"merge"`` into a table of another model.
        ImportError
            The extra ``lancedb`` is missing.
        """
        from birdembed.search import lancedb

        return lancedb.write_index(cast("Index", self), uri, table, mode)

    @staticmethod
    def from_lancedb(uri: Any, table: str, model: Any = None) -> Index:
        """Read an index from a table of LanceDB that has columns `id` and `vector`.

        Rows without a vector and columns that are neither text nor numbers are left out, with a
        warning that names them.

        Parameters
        ----------
        uri : str, Path or lancedb connection
        table : str
        model : Model, optional
            Encodes queries that are images.

        Returns
        -------
        Index

        Raises
        ------
        FingerprintMismatch
            The table was made by another model than `model`.
        ValueError
            There is no such table, or it has no such columns.
        ImportError
            The extra ``lancedb`` is missing.
        """
        from birdembed.search import lancedb

        return lancedb.read_index(uri, table, model)

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a Parquet file, whole or not at all.

        Parameters
        ----------
        path : str or Path
            An older file there is replaced.

        Raises
        ------
        OSError
            The file cannot be written; it is named, and an older one stays as it was.
        ImportError
            The extra ``parquet`` is missing.
        """
        from birdembed.search.arrow import write_parquet

        write_parquet(cast("Index", self), path)

    @staticmethod
    def from_parquet(path: str | os.PathLike[str], model: Any = None) -> Index:
        """Read an index from a Parquet file, or a folder of them, with columns `id` and `vector`.

        Parameters
        ----------
        path : str or Path
        model : Model, optional
            Encodes queries that are images.

        Returns
        -------
        Index

        Raises
        ------
        FingerprintMismatch
            The file was made by another model than `model`.
        OSError, ValueError
            The file cannot be read, or has no such columns.
        ImportError
            The extra ``parquet`` is missing.
        """
        from birdembed.search.arrow import read_parquet

        return read_parquet(path, model)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with one row an image.

        Returns
        -------
        pandas.DataFrame
            Columns `id`, `path`, `label`, `vector` (arrays of `(dim,)` float32) and those of the
            metadata.

        Raises
        ------
        ValueError
            A metadata column is named `vector`.
        ImportError
            The extra ``pandas`` is missing.
        """
        from birdembed.base.optional import need

        index = cast("Index", self)
        columns: dict[str, Any] = {"id": index.ids, "path": index.paths, "label": index.labels}
        columns["vector"] = list(index.embeddings.copy())
        if "vector" in index.metadata:
            raise ValueError(
                "a metadata column is named 'vector', which is the column of the embeddings"
            )
        pandas = need("pandas", "pandas", "Index.to_pandas")
        return pandas.DataFrame({**columns, **index.metadata, "path": index.paths})

    def to_faiss(self) -> Any:
        """Return the embeddings as an index of faiss that finds by cosine similarity.

        The rows are scaled to length 1 and searched by inner product, exactly (`IndexFlatIP`):
        scale queries too (`encode(..., normalize_embeddings=True)`, or `faiss.normalize_L2`).
        What faiss calls ids are row numbers: ``index.ids[row]`` names the image.

        Returns
        -------
        faiss.IndexFlatIP

        Raises
        ------
        ValueError
            The index is empty and knows no dimension.
        ImportError
            The extra ``faiss`` is missing.
        """
        from birdembed.base.optional import need
        from birdembed.base.vectors import normalized

        index = cast("Index", self)
        faiss = need("faiss", "faiss", "Index.to_faiss")
        if index.dim is None:
            raise ValueError("the index is empty and has no dimension")
        made = faiss.IndexFlatIP(index.dim)
        for begin in range(0, len(index), _ROWS):  # no second copy of everything
            made.add(normalized(index.embeddings[begin : begin + _ROWS]))
        return made


_ROWS = 16384
