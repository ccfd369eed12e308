"""The index: embeddings to search, and a model that encodes queries."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from birdembed.base.checks import check_boolean, check_model
from birdembed.base.makers import Maker, load_again, named
from birdembed.base.public import public
from birdembed.images.report import EncodeReport
from birdembed.search import exports, parquet
from birdembed.search import query as query_
from birdembed.search.index_file import read_index, write_index
from birdembed.search.results import SearchResult
from birdembed.search.rows import Rows
from birdembed.search.shared_rows import SharedRows, rows_of

if TYPE_CHECKING:
    import pandas

    from birdembed.data.folder import ImageFolder


@public
class Index(SharedRows):
    """Embeddings with ids, labels and metadata.

    Parameters
    ----------
    dim : int, optional
        Dimension of the embeddings. Default: that of the first embedding added.
    fingerprint : str, optional
        Fingerprint of the model that computed the embeddings. Default: `model.fingerprint`.
    model : Model, optional
        Model that encodes query images.

    Attributes
    ----------
    report : EncodeReport or None
        Result for each image, set by `build`.

    Notes
    -----
    An index is thread-safe: `add` and `remove` wait for each other, and every other call uses the
    rows that existed when it started. Two calls may see different rows, so read related values
    from the same result (use `match.id`, not ``index.ids[match.row]``).

    The embeddings of a model have the same fingerprint in every precision, and an index can mix
    them: they differ by less than 0.001 in cosine similarity in bfloat16, and by a few thousandths
    in int8. The index does not record the precision of each row; the cache of `build` keeps
    precisions separate.
    """

    def __init__(self, dim: int | None = None, fingerprint: str | None = None, model: Any = None):
        super().__init__(Rows(dim, fingerprint))
        self._model = None if model is None else check_model(model)
        self.report: EncodeReport | None = None
        if model is not None:
            if fingerprint is None:
                self.fingerprint = model.fingerprint
            self._rows.check_fingerprint(model.fingerprint, named(model, "the model"))

    @classmethod
    def _of(cls, rows: Rows, model: Any) -> Index:
        """Return an index of rows; raise `FingerprintMismatch` if another model made them."""
        if model is not None:
            check_model(model)
            rows.check_fingerprint(model.fingerprint, named(model, "the model"))
        index = cls(rows.dim, rows.fingerprint, model)
        index._rows = rows.with_fingerprint(index.fingerprint)
        return index

    @property
    def model(self) -> Any:
        """The model that encodes query images, or None if it is unknown.

        An index loaded from a file loads its model on first use. You can set a model with the
        same fingerprint, such as one in another precision.

        Raises
        ------
        WeightsError
            The model no longer exists, or was never saved.
        FingerprintMismatch
            The model has changed since the index was made, or another one is set.
        """
        rows = self._rows
        if self._model is None and rows.maker is not None:
            self._model = load_again(rows.maker, rows.fingerprint)
        return self._model

    @model.setter
    def model(self, value: Any) -> None:
        if value is not None:
            check_model(value)
            self._rows.check_fingerprint(value.fingerprint, named(value, "the model"))
        self._model = value

    def _signed_rows(self) -> Rows:
        """Return the rows with a record of the model, to be written to a file.

        A model that has changed since it made the rows keeps the previous record.
        """
        rows, model = rows_of(self), self._model
        if model is None or rows.fingerprint not in (None, model.fingerprint):
            return rows
        return rows.made_by(Maker.of(model))

    def __getstate__(self) -> dict[str, Any]:
        """Return the rows as lists and arrays, the model and the report."""
        return {"rows": rows_of(self).plain(), "model": self._model, "report": self.report}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state returned by `__getstate__`."""
        super().__init__(Rows.of(**state["rows"]))
        self._model, self.report = state["model"], state["report"]

    # Display ----------------------------------------------------------------------------

    def __repr__(self) -> str:
        """Return a one-line summary of the index."""
        from birdembed.search.index_display import index_text

        return index_text(rows_of(self), self._model is not None)

    def _repr_html_(self) -> str:
        """Return a summary of the index as HTML."""
        from birdembed.search.index_display import index_html

        return index_html(rows_of(self), self._model, self.report)

    # Searching ---------------------------------------------------------------------------

    def search(
        self,
        query: Any,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        exclude_ids: Iterable[str] | str | None = None,
        fingerprint: str | None = None,
        min_score: float | None = None,
    ) -> SearchResult:
        """Find the rows most similar to the query (exact search).

        Parameters
        ----------
        query
            One or many images (paths, bytes, PIL images, uint8 arrays in RGB, an `ImageFolder`),
            which are encoded by the index's model, or embeddings (float arrays).
        k : int
            Number of matches per query.
        where : mapping, optional
            `{column: value or list of values}`: only search rows with one of these values in each
            column. The columns are `id`, `label` and the metadata columns.
        exclude_ids : iterable of str, optional
            Ids of rows to exclude, such as the query itself.
        fingerprint : str, optional
            Fingerprint of the model that computed the query embeddings; checked against the index.
        min_score : float, optional
            Minimum score of a match.

        Returns
        -------
        SearchResult
            Arrays of shape `(k,)` for one query, `(q, k)` for many, with fewer columns if fewer
            rows can match. `close` tells whether the best match reaches the model's `threshold`.

        Raises
        ------
        FingerprintMismatch
            The query and the index come from different models.
        ValueError
            The index has no model to encode an image, dimensions differ, or `k` is below 1.
        """
        rows = rows_of(self)
        asked = query_.interpret(query)
        model = self._model if asked.images is None else self.model
        return query_.search(rows, model, asked, k, where, exclude_ids, fingerprint, min_score)

    # Files -------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a single file, atomically.

        An existing file is replaced. If writing fails, an `OSError` names the file and an
        existing file is left unchanged.

        Parameters
        ----------
        path : str or Path
            The index file.
        """
        write_index(path, self._signed_rows())

    @classmethod
    def load(cls, path: str | os.PathLike[str], mmap: bool = True, model: Any = None) -> Index:
        """Load an index from a file written by `save`.

        Parameters
        ----------
        path : str or Path
            The index file.
        mmap : bool
            Map the embeddings into memory instead of reading them. An index larger than memory
            can then be searched, and several processes share one copy. `embeddings` is then a view
            of the file: if another program cuts the file, reading an array that you took from it
            ends the process (SIGBUS). False: copy everything, so that the file no longer matters.
        model : Model, optional
            Model that encodes query images. Default: the model that made the index, loaded on
            first use (`Index.model`).

        Returns
        -------
        Index

        Raises
        ------
        OSError, IndexFileError
            The file cannot be read, is not an index, or is damaged (`IndexFileError` is also a
            `ValueError`).
        FingerprintMismatch
            The index was made by a model other than `model`.
        """
        mapped = check_boolean("mmap", mmap)
        return cls._of(read_index(path, mapped=mapped), model)

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
        """Embed images with a model and return an index, in the order of the images.

        Parameters
        ----------
        model : Model
            Model that encodes the images, and later the queries.
        images : folder, ImageFolder or iterable of images
            A folder is searched recursively, in the order of the file names. Arrays are in RGB
            order, as for `Model.encode` (OpenCV uses BGR).
        ids : sequence of str, optional
            Default: for a folder, the paths relative to it; for a list, the paths as given, or
            the positions of items that are not paths.
        labels : sequence of str, optional
            Default: the class of an image, or the first folder of its relative path; a folder of
            dataset splits (`train`, `valid`) is an error.
        metadata : mapping, DataFrame or list of dicts, optional
            More columns, one value per image. A column `path` with the absolute paths is added if
            there is none.
        cache : str or Path, optional
            Folder in which to cache embeddings, keyed by file content, model and precision. A
            second run only computes what is missing.
        on_error : {"skip", "raise"}
            What to do if an image cannot be read. `index.report` lists the skipped images.
        show_progress_bar : bool, optional
            Default: only in a terminal or notebook.

        Returns
        -------
        Index

        Raises
        ------
        OSError, ValueError, TypeError
            The folder does not exist or has no images, an argument is invalid, or an item is not
            an image.
        DecodeError
            An image cannot be read and `on_error` is ``"raise"``. The message names the image.
        """
        from birdembed.search.building import build

        check_model(model)
        rows, report = build(
            model, images, ids, labels, metadata, cache, on_error, show_progress_bar
        )
        index = cls._of(rows, model)
        index.report = report
        return index

    # Other stores ------------------------------------------------------------------------

    def to_lancedb(self, uri: Any, table: str, mode: str = "overwrite") -> Any:
        """Write the index to a table of LanceDB. Extra: ``lancedb``.

        Parameters
        ----------
        uri : str, Path or lancedb connection
            The database: a folder, or any address that LanceDB accepts, such as ``s3://...``.
        table : str
            Name of the table.
        mode : {"overwrite", "create", "merge"}
            What to do if the table exists: ``"overwrite"`` replaces it (LanceDB keeps the
            previous version), ``"create"`` raises a `ValueError`, ``"merge"`` adds the rows and
            replaces those with the same id.

        Returns
        -------
        lancedb.table.Table
            Search it with ``.search(vector).distance_type("cosine")``, or with
            `birdembed.integrations.lancedb.search`, which checks the fingerprint.

        Raises
        ------
        FingerprintMismatch
            `mode` is ``"merge"`` and the table was made by another model.
        """
        from birdembed.search import lancedb

        return lancedb.write_rows(self._signed_rows(), uri, table, mode)

    @staticmethod
    def from_lancedb(uri: Any, table: str, model: Any = None) -> Index:
        """Load an index from a LanceDB table with columns `id` and `vector`.

        Rows without a vector, and columns that are neither text nor numbers, are skipped with a
        warning that names them.

        Parameters
        ----------
        uri, table, model
            See `to_lancedb` and `load`. Extra: ``lancedb``.

        Returns
        -------
        Index

        Raises
        ------
        FileNotFoundError
            There is no such folder; none is created.
        FingerprintMismatch, ValueError
            The table was made by another model, does not exist, or lacks these columns.
        """
        from birdembed.search import lancedb

        return Index._of(lancedb.read_rows(uri, table), model)

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a Parquet file, atomically.

        An existing file is replaced; after an `OSError` it is unchanged. Extra: ``parquet``.

        Parameters
        ----------
        path : str or Path
            The Parquet file.
        """
        parquet.write_parquet(self._signed_rows(), path)

    @staticmethod
    def from_parquet(path: str | os.PathLike[str], model: Any = None) -> Index:
        """Load an index from a Parquet file, or a folder of them, with columns `id` and `vector`.

        Parameters
        ----------
        path, model
            See `load`. Rows and columns that an index cannot hold are skipped with a warning, as
            in `from_lancedb`. The files of a folder may have different columns; its subfolders may
            name more: ``label=OWL/0.parquet``. Extra: ``parquet``.

        Returns
        -------
        Index

        Raises
        ------
        FingerprintMismatch, OSError, ValueError
            The file was made by another model (or two files by different ones), cannot be read,
            lacks these columns, or contradicts the name of its folder.
        """
        return Index._of(parquet.read_parquet(path), model)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a DataFrame with one row per image.

        The columns are `id`, `path`, `label`, `vector` (arrays of `(dim,)` float32) and the
        metadata columns. Raises a `ValueError` if one of those is named `vector`. Extra:
        ``pandas``.
        """
        return exports.to_pandas(rows_of(self))

    def to_faiss(self) -> Any:
        """Return the embeddings as a `faiss.IndexFlatIP` that searches by cosine similarity.

        The rows are scaled to length 1 and searched exactly by inner product, so scale queries
        too (`encode(..., normalize_embeddings=True)`, or `faiss.normalize_L2`). The ids of faiss
        are row numbers: ``index.ids[row]`` is the id of the image. Raises a `ValueError` if the
        index is empty and its dimension is unknown. Extra: ``faiss``.
        """
        return exports.to_faiss(rows_of(self))
