"""Search an index: rows, and a model that encodes queries."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from birdembed.base.makers import Maker, load_again, named
from birdembed.base.public import public
from birdembed.images.report import EncodeReport
from birdembed.search import arrow, exports
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
        Numbers of an embedding. Default: those of the first that is added.
    fingerprint : str, optional
        Names the model the embeddings come from. Default: `model.fingerprint`.
    model : Model, optional
        Encodes queries that are images.

    Attributes
    ----------
    report : EncodeReport or None
        What became of each image, after `build`.

    Notes
    -----
    Threads may share an index: `add` and `remove` wait for each other, and every other call
    answers from the rows that were there when it began. Two calls may see different rows, so
    take what belongs together (`match.id`, not ``index.ids[match.row]``) from one answer.

    Embeddings of one model have one fingerprint in all precisions, and an index may hold and be
    asked in any: they differ by less than 0.001 in cosine. It does not record which row was
    computed in which. `build`'s cache keeps them apart.
    """

    def __init__(self, dim: int | None = None, fingerprint: str | None = None, model: Any = None):
        super().__init__(Rows(dim, fingerprint))
        self._model = model
        self.report: EncodeReport | None = None
        if model is not None:
            if fingerprint is None:
                self.fingerprint = model.fingerprint
            self._rows.check_fingerprint(model.fingerprint, named(model, "the model"))

    @classmethod
    def _of(cls, rows: Rows, model: Any) -> Index:
        """Return an index of rows; `FingerprintMismatch` where they are another model's."""
        if model is not None:
            rows.check_fingerprint(model.fingerprint, named(model, "the model"))
        index = cls(rows.dim, rows.fingerprint, model)
        index._rows = rows.with_fingerprint(index.fingerprint)
        return index

    @property
    def model(self) -> Any:
        """The model that encodes images to search for, None where nothing says which.

        An index from a file loads the model that made it when it is first needed. May be set.

        Raises
        ------
        WeightsError
            That model is not there any more, or was never saved.
        FingerprintMismatch
            It has changed since the index was made.
        """
        rows = self._rows
        if self._model is None and rows.maker is not None:
            self._model = load_again(rows.maker, rows.fingerprint)
        return self._model

    @model.setter
    def model(self, value: Any) -> None:
        self._model = value

    def _signed_rows(self) -> Rows:
        """Return the rows with the record of the model, for a file."""
        return rows_of(self).made_by(None if self._model is None else Maker.of(self._model))

    def __getstate__(self) -> dict[str, Any]:
        """Return the rows as lists and arrays, the model and the report."""
        return {"rows": rows_of(self).plain(), "model": self._model, "report": self.report}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what `__getstate__` gave."""
        super().__init__(Rows.of(**state["rows"]))
        self._model, self.report = state["model"], state["report"]

    # Showing itself ---------------------------------------------------------------------

    def __repr__(self) -> str:
        """Return one line that says what the index holds."""
        from birdembed.search.index_display import index_text

        return index_text(rows_of(self), self._model is not None)

    def _repr_html_(self) -> str:
        """Return HTML that says what the index holds."""
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
        """Find the rows most like the query, exactly.

        Parameters
        ----------
        query
            Images (paths, bytes, PIL images, uint8 arrays in RGB, an `ImageFolder`), encoded by
            the index's model, or embeddings (float arrays); one or many.
        k : int
            Matches a query.
        where : mapping, optional
            `{column: value or list of values}`: only rows that have one of them in each column. The
            columns are `id`, `label` and those of the metadata.
        exclude_ids : iterable of str, optional
            Rows to leave out, such as the query itself.
        fingerprint : str, optional
            Of the model that embeddings come from, to be checked.
        min_score : float, optional
            Leave out matches with a lower score.

        Returns
        -------
        SearchResult
            For one query arrays of `(k,)`, for many `(q, k)`; fewer columns where fewer rows are
            left. Its `close` tells whether the best match reaches the model's `threshold`.

        Raises
        ------
        FingerprintMismatch
            The query comes from another model than the index.
        ValueError
            There is no model to encode an image, dimensions differ, or `k` is below 1.
        """
        rows = rows_of(self)
        asked = query_.interpret(query)
        model = self._model if asked.images is None else self.model
        return query_.search(rows, model, asked, k, where, exclude_ids, fingerprint, min_score)

    # Files -------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one file at `path`, whole or not at all.

        An older file there is replaced. Where it cannot be written, an `OSError` names the file,
        and an older one stays as it was.
        """
        write_index(path, self._signed_rows())

    @classmethod
    def load(cls, path: str | os.PathLike[str], mmap: bool = True, model: Any = None) -> Index:
        """Return the index in a file that `save` wrote.

        Parameters
        ----------
        path : str or Path
            The file.
        mmap : bool
            Map the embeddings instead of reading them: an index larger than memory can be searched,
            and several processes share one copy.
        model : Model, optional
            Encodes queries that are images. Default: the model that made the index, loaded when it
            is first needed (`Index.model`).

        Raises
        ------
        OSError, IndexFileError
            The file cannot be read; it is no index, or damaged (this is a `ValueError`).
        FingerprintMismatch
            The index was made by another model than `model`.
        """
        return cls._of(read_index(path, mapped=mmap), model)

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
        """Return an index of images, embedded by a model, in the order of the images.

        Parameters
        ----------
        model : Model
            Encodes the images, and later the queries.
        images : folder, ImageFolder or iterable of images
            Of a folder: all images below it, in the order of their names. Arrays are RGB, as
            `Model.encode` takes them; OpenCV's are BGR.
        ids : sequence of str, optional
            Default: paths relative to the folder; of a list the paths as given, or else the
            positions.
        labels : sequence of str, optional
            Default: an image's class, or the first folder of its relative path.
        metadata : mapping, DataFrame or list of dicts, optional
            More columns, one value an image. Without a column `path` the absolute path is one.
        cache : str or Path, optional
            Folder that keeps finished rows by the content of their files, the model and its
            precision: a second run computes only what is missing.
        on_error : {"skip", "raise"}
            What to do about an image that cannot be read; `index.report` names those left out.
        show_progress_bar : bool, optional
            Default: in a terminal or notebook only.

        Raises
        ------
        OSError, ValueError, TypeError
            There is no such folder or no image in it, an argument does not fit, something is no
            image.
        DecodeError
            With ``on_error="raise"``: an image cannot be read; it is named.
        """
        from birdembed.search.building import build

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
        """
        from birdembed.search import lancedb

        return lancedb.write_rows(self._signed_rows(), uri, table, mode)

    @staticmethod
    def from_lancedb(uri: Any, table: str, model: Any = None) -> Index:
        """Return the index in a table of LanceDB that has columns `id` and `vector`.

        Rows without a vector and columns that are neither text nor numbers are left out, with a
        warning that names them.

        Parameters
        ----------
        uri, table, model
            As `to_lancedb` and `load` take them. Extra: ``lancedb``.

        Raises
        ------
        FingerprintMismatch, ValueError
            The table was made by another model; there is none, or it has no such columns.
        """
        from birdembed.search import lancedb

        return Index._of(lancedb.read_rows(uri, table), model)

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a Parquet file at `path`, whole or not at all.

        An older file there is replaced, or stays as it was after an `OSError`. Extra: ``parquet``.
        """
        arrow.write_parquet(self._signed_rows(), path)

    @staticmethod
    def from_parquet(path: str | os.PathLike[str], model: Any = None) -> Index:
        """Return the index in a Parquet file, or a folder of them, with columns `id` and `vector`.

        Parameters
        ----------
        path, model
            As `load` takes them. What an index cannot hold is left out, as by `from_lancedb`.
            Extra: ``parquet``.

        Raises
        ------
        FingerprintMismatch, OSError, ValueError
            The file was made by another model, cannot be read, has no such columns.
        """
        return Index._of(arrow.read_parquet(path), model)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with one row an image.

        Its columns are `id`, `path`, `label`, `vector` (arrays of `(dim,)` float32) and those of
        the metadata; `ValueError` where one of those is named `vector`. Extra: ``pandas``.
        """
        return exports.to_pandas(rows_of(self))

    def to_faiss(self) -> Any:
        """Return the embeddings as a `faiss.IndexFlatIP` that finds by cosine similarity.

        The rows are scaled to length 1 and searched by inner product, exactly: scale queries too
        (`encode(..., normalize_embeddings=True)`, or `faiss.normalize_L2`). What faiss calls ids
        are row numbers: ``index.ids[row]`` names the image. `ValueError` where the index is empty
        and knows no dimension. Extra: ``faiss``.
        """
        return exports.to_faiss(rows_of(self))
