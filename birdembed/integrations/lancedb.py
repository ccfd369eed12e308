"""LanceDB: an embedding function named "birdembed", and an index as a table. Extra: ``lancedb``.

Importing this module registers the function. A table whose schema names it embeds what is added
and what is searched for:

>>> import lancedb                                                       # doctest: +SKIP
>>> from lancedb.pydantic import LanceModel, Vector                      # doctest: +SKIP
>>> import birdembed.integrations.lancedb                                # doctest: +SKIP
>>> embed = lancedb.embeddings.get_registry().get("birdembed").create()  # doctest: +SKIP
>>> class Photo(LanceModel):                                             # doctest: +SKIP
...     path: str = embed.SourceField()
...     vector: Vector(embed.ndims()) = embed.VectorField()
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from birdembed.base.checks import check_choice, check_integer
from birdembed.base.fingerprints import check_same_model
from birdembed.base.optional import need
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

# The embedding function is had from LanceDB's registry; search/lancedb.py has an index as a table.
__all__ = ["search"]


@register("birdembed")
class BirdembedFunction(EmbeddingFunction):
    """An embedding function for LanceDB, with the vectors that `Model.encode` gives.

    The source column holds paths (str) or the files themselves (bytes). The model is loaded once
    a process, and its fingerprint goes into the table's metadata: a model of the same name with
    other weights is refused later on.

    Parameters
    ----------
    name : str
        As `birdembed.load_model` takes it.
    batch_size : int
        Images in memory at a time.
    on_error : {"null", "raise"}
        About an image that cannot be read: a null vector and a warning that names it (write
        with LanceDB's own ``on_bad_vectors="null"`` or ``"drop"``, else LanceDB refuses the
        rows), or an error that names it. Neither is tried again, as LanceDB would do, with
        growing waits, for a function that raises.
    fingerprint : str, optional
        What the model must have; taken from the model when the table is made.
    """

    name: str = DEFAULT_MODEL
    batch_size: int = 32
    on_error: str = "null"
    fingerprint: str | None = None
    max_retries: int = 0

    @classmethod
    def create(cls, **options: Any) -> BirdembedFunction:
        """Make an embedding function of the options that the class takes."""
        if "name" in options:
            options["name"] = os.fspath(options["name"])
        on_error = options.get("on_error", "null")
        check_choice("on_error", on_error, ("null", "raise"))
        unknown = [option for option in options if option not in cls.model_fields]
        if unknown:
            raise TypeError(
                f"birdembed takes {', '.join(cls.model_fields)}, got {', '.join(unknown)}"
            )
        made: BirdembedFunction = super().create(**options)
        return made

    def safe_model_dump(self) -> dict[str, Any]:
        """Return the options and the fingerprint, which LanceDB keeps with the table."""
        return {**super().safe_model_dump(), "fingerprint": self._model().fingerprint}

    def _model(self) -> Model:
        """Return the model; `FingerprintMismatch` where its weights are not those of the table."""
        model = shared_model(self.name)
        advice = "make the table again, or put the model back"
        other = f"the model {self.name!r} now"
        check_same_model("the table", self.fingerprint, other, model.fingerprint, advice)
        return model

    def ndims(self) -> int:
        """Return the length of a vector."""
        return self._model().embedding_dim

    def compute_source_embeddings(self, images: Any, *_: Any, **__: Any) -> list[Any]:
        """Embed the source column: a list of `(dim,)` float32, None for a bad file."""
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
                '(on_bad_vectors="null" or "drop" lets LanceDB go on without them):\n  '
                + "\n  ".join(bad),
                stacklevel=2,
            )
        return rows

    def compute_query_embeddings(self, query: Any, *_: Any, **__: Any) -> list[Any]:
        """Embed a query: a path, bytes, PIL image or uint8 array in RGB."""
        return [self._model().encode(query)]

    def compute_source_embeddings_with_retry(self, *args: Any, **options: Any) -> list[Any]:
        """Embed the source column once: a bad file does not become better."""
        return self.compute_source_embeddings(*args, **options)

    def compute_query_embeddings_with_retry(self, *args: Any, **options: Any) -> list[Any]:
        """Embed what is searched for, once."""
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

    Parameters
    ----------
    table : lancedb table
        As `Index.to_lancedb` makes it, or any with a column `vector`.
    query
        As `Index.search` takes it: images, encoded by `model`, or float embeddings; one or many.
    k : int
        Matches a query.
    where : str, optional
        LanceDB's filter, such as ``"label = 'WREN'"``, applied before the search.
    model : Model, optional
        Encodes images; its fingerprint must be the table's.
    fingerprint : str, optional
        Of the model that embeddings come from, to be checked.

    Returns
    -------
    SearchResult
        `indices` are LanceDB's row ids.

    Raises
    ------
    FingerprintMismatch
        The query comes from another model than the table.
    TypeError
        `k` is no whole number.
    ValueError
        There is no model to encode an image, or `k` is below 1.
    """
    k = check_integer("k", k, 1)
    asked = query_.interpret(query)
    vectors, single = _query_vectors(asked, table, model, fingerprint)
    found = [_search_one(table, vector, k, where) for vector in vectors]
    width = max(map(len, found), default=0)
    for rows in found:  # an approximate index may find fewer for one query than for another
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
    """Return the vectors of a query, `(q, dim)`, and whether it is a single one."""
    known = arrow.fingerprint_of(table.schema)
    given = asked.vectors
    if given is None:
        if model is None:
            raise ValueError("the query is an image: pass model=, or encode the image first")
        fingerprint = model.fingerprint
        given = model.encode(asked.images)
    advice = "search with the model of the table"
    check_same_model("the query", fingerprint, "the table", known, advice)
    vectors, single = as_vectors(given, "query")
    check_finite(vectors, "query")
    return vectors, single


def _search_one(table: Any, vector: Any, k: int, where: str | None) -> list[dict[str, Any]]:
    """Return the rows of the table that match one vector."""
    names = [name for name in ("id", "label", "path") if name in table.schema.names]
    asked = table.search(vector, vector_column_name="vector").distance_type("cosine").limit(k)
    if where is not None:
        asked = asked.where(where, prefilter=True)
    rows: list[dict[str, Any]] = asked.select([*names, "_distance"]).with_row_id(True).to_list()
    return rows


def _gathered(found: Sequence[list[dict[str, Any]]], name: str, width: int) -> Any:
    """Return a column of all the rows found, `(queries, width)`."""
    flat = [row.get(name) for rows in found for row in rows]
    return columns_.objects(flat).reshape(len(found), width)
