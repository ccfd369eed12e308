"""An index as a Parquet file."""

from __future__ import annotations

import os
from typing import Any

from birdembed._extras import need
from birdembed._files import replacing, with_path
from birdembed._index import Index


def write_parquet(index: Index, path: str | os.PathLike[str]) -> None:
    """Write an index to a Parquet file; see `Index.to_parquet`."""
    parquet = need("pyarrow.parquet", "parquet", "Parquet")
    from birdembed import _arrow

    if os.path.isdir(path):
        raise IsADirectoryError(f"cannot write a Parquet file to {os.fspath(path)}: it is a folder")
    table = _arrow.from_index(index)
    with replacing(path) as temporary:
        parquet.write_table(table, temporary)


def read_parquet(path: str | os.PathLike[str], model: Any = None) -> Index:
    """Read an index from a Parquet file or a folder of them; see `Index.from_parquet`."""
    need("pyarrow.parquet", "parquet", "Parquet")
    import pyarrow
    from pyarrow import dataset

    from birdembed import _arrow

    where = os.fspath(path)
    os.stat(where)  # an error of the usual kind where there is nothing
    try:
        source = dataset.dataset(where, format="parquet")
        columns = _arrow.readable(source.schema, where)
        table = source.to_table(columns=columns)
    except OSError as error:
        raise with_path(error, path) from error
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{where}: no Parquet file ({error})") from error
    return _arrow.to_index(table, model, where)
