"""Write an index to a table of LanceDB, and read it back. Extra: ``lancedb``."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from birdembed._core import FingerprintMismatch
from birdembed.base.checks import check_choice
from birdembed.base.optional import need
from birdembed.search import arrow

if TYPE_CHECKING:
    from birdembed.search.index import Index

lancedb = need("lancedb", "lancedb", "an index in LanceDB")

_MODES = ("overwrite", "create", "merge")
# LanceDB makes the embedding function that a table names whenever it writes to it.
_FUNCTION, _REGISTERED_BY = "birdembed", "birdembed.integrations.lancedb"


def connect(uri: Any) -> Any:
    """Return a connection; one that is open already as it is."""
    return uri if hasattr(uri, "open_table") else lancedb.connect(os.fspath(uri))


def _found(database: Any, table: str) -> Any:
    """Return a table, None where there is none."""
    try:
        return database.open_table(table)
    except (ValueError, FileNotFoundError) as error:
        if "not found" not in str(error):
            raise
        return None


def write_index(index: Index, uri: Any, table: str, mode: str = "overwrite") -> Any:
    """Write an index to a table; see `Index.to_lancedb`."""
    check_choice("mode", mode, _MODES)
    rows = arrow.from_index(index)
    database = connect(uri)
    there = _found(database, table) if mode == "merge" else None
    if there is None:
        return database.create_table(
            table, data=rows, mode="overwrite" if mode == "overwrite" else "create"
        )
    known = arrow.fingerprint_of(there.schema)
    if index.fingerprint is not None and known is not None and index.fingerprint != known:
        raise FingerprintMismatch(
            f"{database.uri}: the table {table!r} has the fingerprint {known[:12]}, the index "
            f"{index.fingerprint[:12]}: vectors of different models cannot be compared; write to "
            'another table, or mode="overwrite"'
        )
    kind = there.schema.field("vector").type if "vector" in there.schema.names else None
    if kind != rows.schema.field("vector").type:
        raise ValueError(
            f"{database.uri}: the table {table!r} has vectors of {kind}, the index of {index.dim} "
            "numbers"
        )
    _register_function(there.schema.metadata)
    merge = there.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
    merge.execute(rows)
    return there


def read_index(uri: Any, table: str, model: Any = None) -> Index:
    """Read an index from a table; see `Index.from_lancedb`."""
    database = connect(uri)
    there = _found(database, table)
    if there is None:
        raise ValueError(f"{database.uri}: there is no table {table!r}")
    where = f"{database.uri}, table {table!r}"
    columns = arrow.readable(there.schema, where)
    n = there.count_rows()
    rows = there.search().select(columns).limit(max(n, 1)).to_arrow()
    rows = rows.replace_schema_metadata(there.schema.metadata)
    return arrow.to_index(rows, model, where)


def _register_function(metadata: Any) -> None:
    """Register the embedding function "birdembed" if the table names it.

    It is named, not imported: it loads models, which this package knows nothing of, and LanceDB
    asks for it by name.
    """
    named = (metadata or {}).get(b"embedding_functions", b"")
    if f'"{_FUNCTION}"'.encode() in named:
        importlib.import_module(_REGISTERED_BY)
