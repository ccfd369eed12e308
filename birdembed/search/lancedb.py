"""Write rows to a LanceDB table and read them back. Extra: ``lancedb``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from birdembed.base.checks import check_choice
from birdembed.base.files import check_creatable, path_text
from birdembed.base.fingerprints import check_same_model
from birdembed.base.optional import need
from birdembed.base.text import error_text, shown, some
from birdembed.images.files import check_folder
from birdembed.search import arrow
from birdembed.search.rows import Rows

lancedb = need("lancedb", "lancedb", "an index in LanceDB")

from lancedb.embeddings import EmbeddingFunction, get_registry, register  # noqa: E402

_MODES = ("overwrite", "create", "merge")
#: Columns that each table has, those that a search adds, and what selects all.
_RESERVED = (
    *("_rowid", "_rowaddr", "_rowoffset"),
    *("_row_created_at_version", "_row_last_updated_at_version"),
    *("_distance", "_score", "_relevance_score", "*"),
)
_LONGEST = 200  # a folder is named after the table, with an ending
_TABLE = re.compile(f"[A-Za-z0-9_.-]{{1,{_LONGEST}}}")
_FUNCTION = "birdembed"  # the embedding function of birdembed.integrations.lancedb
_IMPORT_IT = "import birdembed.integrations.lancedb before opening a table that embeds with it"


def check_target(uri: str, table: str) -> None:
    """Check that a table can be written, before any work is done; nothing is created.

    Raises
    ------
    OSError, ValueError
        The database is a local folder that cannot be written, or the table cannot have this name.
    """
    _check_table(table)
    if _is_local(uri):
        check_creatable(uri)


def _is_local(uri: Any) -> bool:
    """Return whether a database is a folder of this machine, and not an address or a connection."""
    return not hasattr(uri, "open_table") and "://" not in path_text(uri)


def _check_table(table: Any) -> None:
    """Raise an error for a name that LanceDB refuses, or that is too long for a local folder."""
    if not isinstance(table, str):
        raise TypeError(f"table must be the name of a table (str), got {shown(table)}")
    if not _TABLE.fullmatch(table) or table in (".", ".."):
        raise ValueError(
            f"LanceDB has no table named {shown(table)}; use up to {_LONGEST} letters (A to Z), "
            "digits, _, - and ."
        )


def connect(uri: Any) -> Any:
    """Connect to a database; an open connection is returned as it is."""
    return uri if hasattr(uri, "open_table") else lancedb.connect(path_text(uri))


def _found(database: Any, table: str) -> Any:
    """Return a table, or None if it does not exist."""
    try:
        return database.open_table(table)
    except (ValueError, FileNotFoundError) as error:
        if "not found" not in str(error):
            raise
        return None


def write_rows(rows: Rows, uri: Any, table: str, mode: str = "overwrite") -> Any:
    """Write rows to a table; see `Index.to_lancedb`."""
    check_choice("mode", mode, _MODES)
    _check_table(table)
    _check_names(rows)
    data = arrow.from_rows(rows)
    database = connect(uri)
    with _named(database, table):
        return _written(database, table, rows, data, mode)


def _check_names(rows: Rows) -> None:
    """Raise a ValueError for a column that LanceDB could not read again."""
    for column in rows.columns:
        if not column or set("`.\0") & set(column) or column in _RESERVED:
            raise ValueError(
                f"LanceDB cannot read a column named {column!r} (no backquotes, no dots, no NUL "
                "characters, no names of its own); rename this metadata column"
            )


@contextlib.contextmanager
def _named(database: Any, table: str) -> Iterator[None]:
    """Raise errors of LanceDB's core, such as that of a full disk, as an OSError with the table."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(f"{database.uri}, table {table!r}: {error_text(error)}") from error


def _written(database: Any, table: str, rows: Rows, data: Any, mode: str) -> Any:
    """Write an Arrow table and return the table of the database."""
    there = _found(database, table) if mode == "merge" else None
    if there is None:
        return database.create_table(
            table, data=data, mode="overwrite" if mode == "overwrite" else "create"
        )
    known = arrow.fingerprint_of(there.schema)
    name = f"{database.uri}: the table {table!r}"
    advice = 'write to another table, or use mode="overwrite"'
    check_same_model(name, known, "the index", rows.fingerprint, advice)
    kind = there.schema.field("vector").type if "vector" in there.schema.names else None
    if kind != data.schema.field("vector").type:
        raise ValueError(f"{name} has vectors of type {kind}, the index has {rows.dim} dimensions")
    new = [column for column in data.schema.names if column not in there.schema.names]
    if new:
        raise ValueError(f"{name} has no column {some(new)}; {advice}")
    _register_function(there.schema.metadata)
    merge = there.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
    merge.execute(data)
    return there


def read_rows(uri: Any, table: str) -> Rows:
    """Read the rows of a table; see `Index.from_lancedb`."""
    _check_table(table)
    if _is_local(uri):
        check_folder(uri)  # LanceDB would create it
    database = connect(uri)
    there = _found(database, table)
    if there is None:
        raise ValueError(f"{database.uri}: there is no table {table!r}")
    where = f"{database.uri}, table {table!r}"
    columns = arrow.readable(there.schema, where)
    with _named(database, table):
        n = there.count_rows()
        data = there.search().select(columns).limit(max(n, 1)).to_arrow()
    return arrow.to_rows(data.replace_schema_metadata(there.schema.metadata), where)


class _NotImported(EmbeddingFunction):
    """Placeholder for the embedding function "birdembed" until its module registers it."""

    def ndims(self) -> int:
        """Raise an error that says what to import."""
        raise ImportError(_IMPORT_IT)

    def compute_source_embeddings(self, *_: Any, **__: Any) -> list[Any]:
        """Raise an error that says what to import."""
        raise ImportError(_IMPORT_IT)

    def compute_query_embeddings(self, *_: Any, **__: Any) -> list[Any]:
        """Raise an error that says what to import."""
        raise ImportError(_IMPORT_IT)

    # The base class would retry, with increasing delays.
    compute_source_embeddings_with_retry = compute_source_embeddings
    compute_query_embeddings_with_retry = compute_query_embeddings


def _register_function(metadata: Any) -> None:
    """Register a placeholder for the function "birdembed" if a table needs it and none exists.

    LanceDB creates the embedding function of a table on every write, even if all rows have
    vectors. The real function loads models, which this folder must not import.
    """
    named = (metadata or {}).get(b"embedding_functions", b"")
    if f'"{_FUNCTION}"'.encode() not in named:
        return
    try:
        get_registry().get(_FUNCTION)
    except KeyError:
        register(_FUNCTION)(_NotImported)  # type: ignore[no-untyped-call]
