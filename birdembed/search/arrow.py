"""Convert rows to Arrow tables and back."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed.base.makers import Maker
from birdembed.base.text import some
from birdembed.search.rows import Rows

if TYPE_CHECKING:
    import pyarrow as pa

#: Key of the fingerprint in the metadata of a schema.
FINGERPRINT = b"birdembed.fingerprint"
#: Keys of the name and the folder of the model.
MODEL, MODEL_PATH = b"birdembed.model", b"birdembed.model_path"
#: Columns that hold text.
TEXTS = ("id", "label", "path")


def vector_array(vectors: NDArray[np.float32], present: NDArray[np.bool_] | None = None) -> Any:
    """Return `(n, dim)` float32 as an Arrow array of vectors, null where not `present`."""
    import pyarrow as pa

    values = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    mask = None if present is None or present.all() else pa.array(~present)
    return pa.FixedSizeListArray.from_arrays(values, vectors.shape[1], mask=mask)


def _text_array(values: Iterable[str | None], name: str) -> Any:
    """Return strings as an Arrow array; raise a ValueError if one is not valid Unicode."""
    import pyarrow as pa

    listed = list(values)
    try:
        return pa.array(listed, pa.string())
    except UnicodeEncodeError as error:  # a file name that is not valid Unicode
        wrong = next(
            v for v in listed if v is not None and v != v.encode(errors="replace").decode()
        )
        raise ValueError(f"column {name!r}: {wrong!r} cannot be written as UTF-8") from error


def from_rows(rows: Rows) -> pa.Table:
    """Return rows as an Arrow table.

    Raises
    ------
    ValueError
        There are no rows and the dimension is unknown, or a column is named `vector`.
    """
    import pyarrow as pa

    if rows.dim is None:
        raise ValueError(
            "the index is empty and its dimension is unknown; add rows, or create Index(dim)"
        )
    if "vector" in rows.columns:
        raise ValueError(
            "a metadata column is named 'vector', which is reserved for the embeddings; rename it"
        )
    columns: dict[str, Any] = {
        "id": _text_array(rows.ids, "id"),
        "path": _text_array(rows.paths, "path"),
        "label": _text_array(rows.labels, "label"),
        "vector": vector_array(rows.vectors),
    }
    for name, values in rows.columns.items():
        if name != "path":
            numbers = isinstance(values, np.ndarray)
            columns[name] = pa.array(values) if numbers else _text_array(values, name)
    info = {} if rows.fingerprint is None else {FINGERPRINT: rows.fingerprint.encode()}
    if rows.maker is not None:
        info[MODEL] = rows.maker.name.encode(errors="surrogateescape")
        if rows.maker.path is not None:
            info[MODEL_PATH] = rows.maker.path.encode(errors="surrogateescape")
    return pa.table(columns).replace_schema_metadata(info)


def fingerprint_of(schema: pa.Schema) -> str | None:
    """Return the fingerprint stored in a schema by birdembed or by its embedding function."""
    info: Mapping[bytes, bytes] = schema.metadata or {}
    if FINGERPRINT in info:
        return info[FINGERPRINT].decode(errors="replace")  # what is damaged matches no model
    try:
        functions = json.loads(info.get(b"embedding_functions", b"[]"))
        for function in functions:
            if function["name"] == "birdembed" and function["vector_column"] == "vector":
                return function["model"].get("fingerprint")
    except (ValueError, KeyError, TypeError, AttributeError):
        pass  # metadata of another program
    return None


def maker_of(schema: pa.Schema) -> Maker | None:
    """Return the record of the model stored in a schema, or None."""
    info: Mapping[bytes, bytes] = schema.metadata or {}
    name, path = (
        info[key].decode(errors="surrogateescape") if key in info else None
        for key in (MODEL, MODEL_PATH)
    )
    return Maker(name, path) if name else None


def readable(schema: pa.Schema, where: str) -> list[str]:
    """Return the columns that an index can hold; warn about the others.

    Raises
    ------
    ValueError
        The column `id` or `vector` is missing; the message starts with `where`.
    """
    kept, left_out = sorted_out(schema, where)
    if left_out:
        warnings.warn(skipped_columns(where, left_out), stacklevel=4)
    return kept


def sorted_out(
    schema: pa.Schema, where: str, more: Iterable[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """Return the columns that an index can hold, and the types of the others by name.

    `more` are columns that come from elsewhere; errors are those of `readable`.
    """
    import pyarrow.types as types

    there = {*schema.names, *more}
    missing = [name for name in ("id", "vector") if name not in there]
    if missing:
        raise ValueError(
            f"{where}: no column {' and no column '.join(missing)}; the columns are "
            f"{', '.join(schema.names)}, and an index needs id and vector"
        )
    kept: list[str] = []
    left_out: dict[str, str] = {}
    for field in schema:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        plain = (
            types.is_string(kind)
            or types.is_large_string(kind)
            or _is_view(kind)
            or types.is_integer(kind)
            or types.is_floating(kind)
            or types.is_boolean(kind)
            or types.is_null(kind)
        )
        if plain or field.name == "vector":
            kept.append(field.name)
        else:
            left_out[field.name] = str(field.type)
    if "id" in left_out:
        raise ValueError(f"{where}: the column id has type {left_out['id']}, not text")
    return kept, left_out


def skipped_columns(where: str, left_out: Mapping[str, str]) -> str:
    """Return the warning about columns that an index cannot hold, given their types."""
    return (
        f"{where}: an index can only hold strings, numbers and booleans; skipped columns: "
        + ", ".join(f"{name} ({kind})" for name, kind in left_out.items())
    )


def _is_view(kind: pa.DataType) -> bool:
    """Return whether a type is that of string views, which older versions of pyarrow lack."""
    import pyarrow.types as types

    return hasattr(types, "is_string_view") and bool(types.is_string_view(kind))


class Part(NamedTuple):
    """The rows of a table that have a vector, as an index holds them."""

    vectors: NDArray[np.float32]
    columns: dict[str, list[Any]]
    #: Ids of the rows without a vector, which were left out.
    lacking: list[Any]


def to_rows(table: pa.Table, where: str) -> Rows:
    """Convert an Arrow table with the columns given by `readable` to rows.

    Rows without a vector are skipped, with a warning that lists their ids.

    Raises
    ------
    ValueError
        Vectors have different lengths or ids are duplicated; the message starts with `where`.
    """
    part = part_of(table, where)
    if part.lacking:
        warnings.warn(rows_without_vector(where, part.lacking), stacklevel=4)
    return rows_of_part(part, fingerprint_of(table.schema), maker_of(table.schema), where)


def part_of(table: pa.Table, where: str) -> Part:
    """Return the rows of a table that have a vector; see `to_rows`."""
    import pyarrow as pa

    table = _as_text(table)
    vectors, present = _vectors(table.column("vector"), where)
    names = [name for name in table.column_names if name != "vector"]
    lacking: list[Any] = []
    if not present.all():
        if "id" in names:
            lacking = table.column("id").filter(pa.array(~present)).to_pylist()
        else:  # the folder names the id
            lacking = [None] * int((~present).sum())
        table = table.filter(pa.array(present))
    return Part(vectors, {name: table.column(name).to_pylist() for name in names}, lacking)


def rows_without_vector(where: str, names: Iterable[Any]) -> str:
    """Return the warning about rows that have no vector, given their ids."""
    return f"{where}: skipped rows without a vector: {some(names)}"


def rows_of_part(part: Part, fingerprint: str | None, maker: Maker | None, where: str) -> Rows:
    """Return the rows of a part; see `to_rows`."""
    vectors, columns = part.vectors, dict(part.columns)
    rows = Rows(vectors.shape[1] or None, fingerprint, maker)
    if not len(vectors):
        return rows
    ids, labels = columns.pop("id"), columns.pop("label", None)
    if all(path is None for path in columns.get("path", ())):
        columns.pop("path", None)
    try:
        return rows.added(ids, vectors, labels, columns)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: {error}") from error


def _vectors(column: pa.ChunkedArray, where: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the existing vectors, `(m, dim)`, and a mask of the `n` rows that have one."""
    import pyarrow as pa
    import pyarrow.types as types

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):  # a tensor of another library
        kind, column = kind.storage_type, column.cast(kind.storage_type)
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if not lists or not types.is_floating(kind.value_type):
        raise ValueError(
            f"{where}: the column vector has type {column.type}, expected lists of floats"
        )
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # older pyarrow, no chunks
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], kind)
    present = array.is_valid().to_numpy(zero_copy_only=False)
    array = array.drop_null()
    lengths = np.unique(array.value_lengths().to_numpy(zero_copy_only=False))
    if types.is_fixed_size_list(kind):
        lengths = np.asarray([kind.list_size])
    if len(lengths) > 1:
        raise ValueError(f"{where}: vectors have different lengths: {lengths.tolist()[:5]}")
    dim = int(lengths[0]) if len(lengths) else 0
    values = array.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float32).reshape(len(array), dim), present


def _as_text(table: pa.Table) -> pa.Table:
    """Return a table with ids, labels and paths as strings, also if they are whole numbers."""
    import pyarrow as pa
    import pyarrow.types as types

    for place, field in enumerate(table.schema):
        if field.name not in TEXTS:
            continue
        column = table.column(place)
        if types.is_floating(field.type):  # pandas writes integers with gaps as floats
            with contextlib.suppress(pa.ArrowInvalid):  # they have fractions
                column = column.cast(pa.int64())
        if types.is_integer(column.type):
            table = table.set_column(place, field.name, column.cast(pa.string()))
    return table
