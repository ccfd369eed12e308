"""LanceDB: an embedding function named "birdembed", and an index as a table. Extra: ``lancedb``.

Importing this module registers the function. A table with the function in its schema embeds
images that you add and images that you search for:

>>> import lancedb                                                       # doctest: +SKIP
>>> from lancedb.pydantic import LanceModel, Vector                      # doctest: +SKIP
>>> import birdembed.integrations.lancedb                                # doctest: +SKIP
>>> embed = lancedb.embeddings.get_registry().get("birdembed").create()  # doctest: +SKIP
>>> class Photo(LanceModel):                                             # doctest: +SKIP
...     path: str = embed.SourceField()
...     vector: Vector(embed.ndims()) = embed.VectorField()
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from birdembed.base.checks import check_choice, check_integer, check_model, check_string
from birdembed.base.files import path_text
from birdembed.base.fingerprints import check_same_model
from birdembed.base.optional import need
from birdembed.base.text import shown
from birdembed.base.vectors import as_vectors, check_finite
from birdembed.images.report import described
from birdembed.model.shared import shared_model
from birdembed.pretrained.registry import DEFAULT_MODEL
from birdembed.search import arrow
from birdembed.search import columns as columns_
from birdembed.search import query as query_
from birdembed.search.results import SearchResult

lancedb = need("lancedb", "lancedb", "birdembed.integrations.lancedb")

from lancedb.embeddings import EmbeddingFunction, register  # noqa: E402

if TYPE_CHECKING:
    from birdembed.model.model import Model

# This file has the embedding function; search/lancedb.py stores an index in a table.
__all__ = ["search"]


@register("birdembed")
class BirdembedFunction(EmbeddingFunction):
    """Embedding function for LanceDB that returns the same vectors as `Model.encode`.

    The source column contains paths (str) or the content of files (bytes). The model is loaded
    once per process. Its fingerprint is stored in the metadata of the table, so using a model of
    the same name with other weights is an error.

    Parameters
    ----------
    name : str
        Name, path or hub id of the model, see `birdembed.load_model`.
    batch_size : int
        Number of images in memory at a time.
    on_error : {"null", "raise"}
        What to do if an image cannot be read: return a null vector and issue a warning, or raise
        an error; both name the image. To write null vectors, pass ``on_bad_vectors="null"`` or
        ``"drop"`` to LanceDB. Unlike other functions in LanceDB, this one does not retry after an
        error.
    fingerprint : str, optional
        Required fingerprint of the model; set when the table is created.
    """

    name: str = DEFAULT_MODEL
    batch_size: int = 32
    on_error: str = "null"
    fingerprint: str | None = None
    max_retries: int = 0

    @classmethod
    def create(cls, **options: Any) -> BirdembedFunction:
        """Create an embedding function with the given options."""
        if "name" in options:
            options["name"] = path_text(options["name"])
        on_error = options.get("on_error", "null")
        check_choice("on_error", on_error, ("null", "raise"))
        check_integer("batch_size", options.get("batch_size", 1), 1)
        unknown = [option for option in options if option not in cls.model_fields]
        if unknown:
            raise TypeError(
                f"the options of birdembed are {', '.join(cls.model_fields)}, got "
                f"{', '.join(unknown)}"
            )
        made: BirdembedFunction = super().create(**options)
        return made

    def safe_model_dump(self) -> dict[str, Any]:
        """Return the options and the fingerprint, which LanceDB stores with the table."""
        return {**super().safe_model_dump(), "fingerprint": self._model().fingerprint}

    def _model(self) -> Model:
        """Return the model; raise `FingerprintMismatch` if it is not the model of the table."""
        model = shared_model(self.name)
        advice = "create the table again, or restore the original model"
        other = f"the current model {self.name!r}"
        check_same_model("the table", self.fingerprint, other, model.fingerprint, advice)
        return model

    def ndims(self) -> int:
        """Return the dimension of the vectors."""
        return self._model().embedding_dim

    def compute_source_embeddings(self, images: Any, *_: Any, **__: Any) -> list[Any]:
        """Embed the source column: a list of `(dim,)` float32, None for an unreadable file."""
        listed = images.to_pylist() if hasattr(images, "to_pylist") else images
        listed = [listed] if isinstance(listed, (str, bytes)) else list(listed)
        given = [row for row, image in enumerate(listed) if image is not None]
        vectors, report = self._model().encode(
            [listed[row] for row in given],
            batch_size=self.batch_size,
            show_progress_bar=False,
            on_error="skip" if self.on_error == "null" else "raise",
            return_report=True,
        )
        rows: list[Any] = [None] * len(listed)
        for position, vector in zip(report.kept, vectors, strict=True):
            rows[given[position]] = vector
        bad = [described(failure) for failure in report.failures]
        bad += [f"row {row}: null" for row, image in enumerate(listed) if image is None]
        if bad:
            warnings.warn(
                f"{len(bad)} of {len(listed)} images could not be read and have a null vector "
                '(pass on_bad_vectors="null" or "drop" to LanceDB to accept them):\n  '
                + "\n  ".join(bad),
                stacklevel=2,
            )
        return rows

    def compute_query_embeddings(self, query: Any, *_: Any, **__: Any) -> list[Any]:
        """Embed a query: a path, bytes, PIL image or uint8 array in RGB."""
        return [self._model().encode(query)]

    def compute_source_embeddings_with_retry(self, *args: Any, **options: Any) -> list[Any]:
        """Embed the source column once; retrying does not help with an unreadable file."""
        return self.compute_source_embeddings(*args, **options)

    def compute_query_embeddings_with_retry(self, *args: Any, **options: Any) -> list[Any]:
        """Embed a query, without retrying."""
        return self.compute_query_embeddings(*args, **options)


def search(
    table: Any,
    query: Any,
    k: int = 10,
    where: str | None = None,
    model: Any = None,
    fingerprint: str | None = None,
) -> SearchResult:
    """Search a table by cosine similarity, for tables larger than memory.

    A query of zeros has the score 0 with every row. LanceDB never returns rows of zeros for other
    queries, unlike `Index.search`.

    Parameters
    ----------
    table : lancedb table
        A table written by `Index.to_lancedb`, or any table with a column `vector`.
    query
        One or many images, which are encoded by `model`, or float embeddings; see `Index.search`.
    k : int
        Number of matches per query.
    where : str, optional
        A LanceDB filter, such as ``"label = 'WREN'"``, applied before the search.
    model : Model, optional
        Model that encodes images; it must have the fingerprint of the table.
    fingerprint : str, optional
        Fingerprint of the model that computed the query embeddings; checked against the table.

    Returns
    -------
    SearchResult
        Its `indices` are the row ids of LanceDB.

    Raises
    ------
    FingerprintMismatch
        The query and the table come from different models.
    TypeError
        An argument has another type.
    ValueError
        There is no model to encode an image, or `k` is below 1.
    """
    k = check_integer("k", k, 1)
    for name, text in (("where", where), ("fingerprint", fingerprint)):
        if text is not None:
            check_string(name, text)
    if not (hasattr(table, "schema") and hasattr(table, "count_rows")):
        raise TypeError(
            "table must be an open table, such as Index.to_lancedb returns, got "
            f"{shown(table)}; open it with lancedb.connect(URI).open_table(NAME)"
        )
    k = min(k, max(1, table.count_rows()))  # LanceDB reserves memory for k rows
    asked = query_.interpret(query)
    vectors, single = _query_vectors(asked, table, model, fingerprint)
    found = [_search_one(table, vector, k, where) for vector in vectors]
    width = max(map(len, found), default=0)
    for rows in found:  # an approximate index may find fewer matches for some queries
        rows += [{"_distance": np.inf, "_rowid": -1}] * (width - len(rows))
    result = SearchResult(
        1 - _gathered(found, "_distance", width).astype(np.float32),
        _gathered(found, "_rowid", width).astype(np.int64),
        _gathered(found, "id", width),
        _gathered(found, "label", width),
        _gathered(found, "path", width),
        asked.names,
        asked.shown,
    )
    return result[0] if single else result


def _query_vectors(
    asked: query_.Asked, table: Any, model: Any, fingerprint: str | None
) -> tuple[Any, bool]:
    """Return the vectors of a query, `(q, dim)`, and whether it is a single query."""
    known = arrow.fingerprint_of(table.schema)
    given = asked.vectors
    if given is None:
        if model is None:
            raise ValueError("the query is an image; pass model=, or encode the image first")
        fingerprint = check_model(model).fingerprint
        given = model.encode(asked.images)
    advice = "search with the model of the table"
    check_same_model("the query", fingerprint, "the table", known, advice)
    vectors, single = as_vectors(given, "query")
    check_finite(vectors, "query")
    return vectors, single


def _search_one(table: Any, vector: Any, k: int, where: str | None) -> list[dict[str, Any]]:
    """Return the best matching rows of the table for one vector."""
    names = [name for name in ("id", "label", "path") if name in table.schema.names]
    if not vector.any():  # its distance to any row is NaN for LanceDB, which returns none
        condition = "vector IS NOT NULL" + ("" if where is None else f" AND ({where})")
        every = table.search().where(condition).select(names).with_row_id(True).limit(k)
        return [{**row, "_distance": 1.0} for row in every.to_list()]
    asked = table.search(vector, vector_column_name="vector").distance_type("cosine").limit(k)
    if where is not None:
        asked = asked.where(where, prefilter=True)
    rows: list[dict[str, Any]] = asked.select([*names, "_distance"]).with_row_id(True).to_list()
    return rows


def _gathered(found: Sequence[list[dict[str, Any]]], name: str, width: int) -> Any:
    """Return a column of the matches of all queries, `(queries, width)`."""
    flat = [row.get(name) for rows in found for row in rows]
    return columns_.objects(flat).reshape(len(found), width)
