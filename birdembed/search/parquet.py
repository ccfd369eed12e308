"""Write rows to a Parquet file, and read them from a file or a folder of files.

Each file of a folder is read with its own schema, and the values are joined afterwards: files may
lack columns of the others, or hold them in another type.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import numpy as np

from birdembed.base.files import path_text, regular, replacing, with_path
from birdembed.base.fingerprints import check_same_model
from birdembed.base.makers import Maker
from birdembed.base.optional import need
from birdembed.base.text import composed, shown
from birdembed.search import arrow
from birdembed.search.arrow import Part
from birdembed.search.rows import Rows

if TYPE_CHECKING:
    import pyarrow as pa

_MISSING = "__HIVE_DEFAULT_PARTITION__"  # a missing value in the name of a folder


def write_parquet(rows: Rows, path: str | os.PathLike[str]) -> None:
    """Write rows to a Parquet file; see `Index.to_parquet`."""
    parquet = need("pyarrow.parquet", "parquet", "Parquet")
    where = path_text(path)
    if os.path.isdir(where):
        raise IsADirectoryError(f"cannot write a Parquet file to {where}: it is a folder")
    table = arrow.from_rows(rows)
    with replacing(path) as temporary:
        parquet.write_table(table, temporary)


def read_parquet(path: str | os.PathLike[str]) -> Rows:
    """Read the rows of a Parquet file or a folder of them; see `Index.from_parquet`.

    Subfolders of a folder may name columns: ``label=OWL/part-0.parquet``. Such a column holds
    whole numbers if all its values are written as such, otherwise text: 0012 stays text.

    Raises
    ------
    FingerprintMismatch
        The files of a folder were made by different models.
    OSError, ValueError
        A file cannot be read, or contradicts the name of its folder or the other files.
    """
    need("pyarrow.parquet", "parquet", "Parquet")
    import pyarrow as pa

    where = path_text(path)
    if not os.path.isdir(where):
        os.close(regular(where, os.O_RDONLY | os.O_CLOEXEC))  # raises the usual OSError
    try:
        files = list(_files(where))
    except OSError as error:
        raise with_path(error, path) from error
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"{where}: not a Parquet file ({error})") from error
    fingerprint = _fingerprint(files)
    left_out = {name: kind for file in files for name, kind in file.left_out.items()}
    if left_out:
        warnings.warn(arrow.skipped_columns(where, left_out), stacklevel=3)
    part = _joined(files, where)
    if part.lacking:
        warnings.warn(arrow.rows_without_vector(where, part.lacking), stacklevel=3)
    return arrow.rows_of_part(part, fingerprint, _maker(files), where)


class _File(NamedTuple):
    """The content of one file."""

    name: str
    schema: pa.Schema
    part: Part
    #: Values of columns in the names of its folders.
    named: dict[str, str | None]
    #: Types of the columns that an index cannot hold.
    left_out: dict[str, str]


def _files(where: str) -> Iterator[_File]:
    """Yield the files of a folder, in the order of their names, or the file itself."""
    from pyarrow import dataset

    source = dataset.dataset(where, format="parquet")
    fragments = list(source.get_fragments())
    if not fragments:
        arrow.sorted_out(source.schema, where)  # raises the error for columns that are missing
    for fragment in fragments:
        folder = os.path.isdir(where)
        name = fragment.path if folder else where
        named = _named_columns(os.path.relpath(name, where)) if folder else {}
        schema = fragment.physical_schema
        kept, left_out = arrow.sorted_out(schema, name, {"id"} & named.keys())
        part = arrow.part_of(fragment.to_table(columns=kept), name)
        _check_named(name, part, named)
        yield _File(name, schema, part, named, left_out)


def _named_columns(path: str) -> dict[str, str | None]:
    """Return the columns that the folders of a path name, as text: ``year=2020/label=OWL/x``."""
    named: dict[str, str | None] = {}
    for folder in path.split(os.sep)[:-1]:
        column, sign, value = folder.partition("=")
        if sign and column:
            named[unquote(column)] = None if value == _MISSING else unquote(value)
    return named


def _check_named(name: str, part: Part, named: dict[str, str | None]) -> None:
    """Raise a ValueError if a column of a file contradicts the name of a folder around it."""
    for column, text in named.items():
        equal = {None} if text is None else {None, composed(text), _whole(text)}
        for value in part.columns.get(column, ()):
            if value not in equal and composed(str(value)) not in equal:
                says = f"{column}={_MISSING if text is None else text}"
                raise ValueError(
                    f"{name}: the folder is named {says}, but the column {column} in the file has "
                    f"{shown(value)}; rename the folder or remove the column from the file"
                )


def _whole(text: str) -> int | None:
    """Return the whole number of 64 bits that a text is, or None if it would not be kept."""
    try:
        number = int(text)
    except ValueError:
        return None
    return number if str(number) == text and -(2**63) <= number < 2**63 else None


def _joined(files: list[_File], where: str) -> Part:
    """Return the rows of all files; a column that a file lacks has no values there."""
    dims = sorted({file.part.vectors.shape[1] for file in files if len(file.part.vectors)})
    if len(dims) > 1:
        raise ValueError(f"{where}: vectors have different lengths: {dims[:5]}")
    stored = dict.fromkeys(name for file in files for name in file.part.columns)
    in_folders = dict.fromkeys(name for file in files for name in file.named)
    numbers = {name: _numbers(name, files) for name in in_folders}
    columns: dict[str, list[Any]] = {}
    for name in [*stored, *(name for name in numbers if name not in stored)]:
        values: list[Any] = []
        for file in files:
            n = len(file.part.vectors)
            text = file.named.get(name)
            known = text if text is None or not numbers[name] else int(text)
            mine = file.part.columns.get(name, [None] * n)
            values += mine if known is None else [known if v is None else v for v in mine]
        columns[name] = values
    vectors = [file.part.vectors for file in files if len(file.part.vectors)]
    if not vectors:  # one of no rows, which may still have a dimension
        vectors = [max((file.part.vectors for file in files), key=lambda rows: rows.shape[1])]
    lacking = [name for file in files for name in file.part.lacking]
    return Part(vectors[0] if len(vectors) == 1 else np.concatenate(vectors), columns, lacking)


def _numbers(name: str, files: Iterable[_File]) -> bool:
    """Return whether a column in the names of folders holds whole numbers, in all the files."""
    texts = [text for file in files if (text := file.named.get(name)) is not None]
    stored = (value for file in files for value in file.part.columns.get(name, ()))
    return (
        name not in arrow.TEXTS
        and all(_whole(text) is not None for text in texts)
        and not any(isinstance(value, str) for value in stored)
    )


def _fingerprint(files: Iterable[_File]) -> str | None:
    """Return the fingerprint of the files; raise `FingerprintMismatch` if they differ."""
    known: tuple[str, str] | None = None
    for file in files:
        mark = arrow.fingerprint_of(file.schema)
        if mark is None:
            continue
        if known is None:
            known = file.name, mark
        advice = "put the files of each model into a folder of their own"
        check_same_model(file.name, mark, known[0], known[1], advice)
    return None if known is None else known[1]


def _maker(files: Iterable[_File]) -> Maker | None:
    """Return the first record of a model in the files."""
    return next((maker for file in files if (maker := arrow.maker_of(file.schema))), None)
