"""Check, merge and search the columns of labels and metadata."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import is_missing
from birdembed.base.listed import listed, python_values
from birdembed.base.text import composed, shown
from birdembed.search.growing_strings import GrowingStrings
from birdembed.search.packed_strings import PackedStrings

_EXACT = 2**53  # floats hold all integers up to here
#: Strings or numbers, one per row.
Column = Sequence["str | None"] | NDArray[Any]


def objects(column: Iterable[Any]) -> NDArray[np.object_]:
    """Return a column as an array of Python objects."""
    values = list(column)
    array = np.empty(len(values), object)
    array[:] = values
    return array


def arrays(columns: Mapping[str, Column]) -> dict[str, NDArray[Any]]:
    """Return columns as a dict of arrays, with strings as Python objects."""
    return {
        name: column if isinstance(column, np.ndarray) else objects(column)
        for name, column in columns.items()
    }


def strings(values: Any, n: int, name: str) -> list[str | None]:
    """Return `n` strings or Nones; `values` None gives `n` Nones."""
    if values is None:
        return [None] * n
    if not isinstance(values, PackedStrings):
        values = listed(values, name, "of strings")
    column = [_string(value, name) for value in values]
    if len(column) != n:
        raise ValueError(f"{name} has {len(column)} values, expected {n}")
    if name == "labels":  # one spelling per species
        return [tag if tag is None else composed(tag) for tag in column]
    return column


def _string(value: Any, name: str) -> str | None:
    """Return a value as a string, or None if it is missing; raise a TypeError for other types."""
    if is_missing(value):
        return None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    raise TypeError(f"{name} must hold strings, got {type(value).__name__} ({shown(value)})")


def from_metadata(metadata: Any, n: int) -> dict[str, Column]:
    """Return the columns of a mapping, a DataFrame or a list of dicts, with `n` values each."""
    if metadata is None:
        return {}
    if isinstance(metadata, Sequence) and all(isinstance(row, Mapping) for row in metadata):
        names = list(dict.fromkeys(name for row in metadata for name in row))
        if len(metadata) != n:
            raise ValueError(f"metadata has {len(metadata)} rows, expected {n}")
        metadata = {name: [row.get(name) for row in metadata] for name in names}
    if not hasattr(metadata, "keys"):
        raise TypeError(
            "metadata must be a mapping of columns, a DataFrame or a list of dicts, got "
            f"{type(metadata).__name__}"
        )
    columns: dict[str, Column] = {}
    names = list(metadata.keys())
    for name in names:
        if not isinstance(name, str) or name in ("id", "label"):
            raise ValueError(f"metadata: a column cannot be named {name!r}")
        if names.count(name) > 1:  # of a DataFrame
            raise ValueError(f"metadata: several columns are named {name!r}; rename them")
        what = f"metadata column {name!r}"
        of_kind = strings if name == "path" else _column
        columns[name] = of_kind(metadata[name], n, what)
    return columns


def _column(values: Any, n: int, name: str) -> Column:
    """Return `n` values as booleans, integers, floats or, failing that, strings."""
    if isinstance(values, PackedStrings):
        return list(values)
    rows = listed(values, name)
    if len(rows) != n:
        raise ValueError(f"{name} has {len(rows)} values, expected {n}")
    present = [value for value in rows if not is_missing(value)]
    if present and all(isinstance(value, (bool, np.bool_)) for value in present):
        if len(present) < n:
            row = next(row for row, value in enumerate(rows) if is_missing(value))
            raise ValueError(
                f"{name} has a missing value (row {row}) among booleans, which cannot be missing; "
                "use strings or numbers"
            )
        return np.asarray(rows, bool)
    if len(present) < n and not present and isinstance(values, np.ndarray):
        if values.dtype.kind == "f":
            return np.asarray(values, np.float64)
    if present and all(_is_number(value) for value in present):
        whole = len(present) == n and all(isinstance(v, (int, np.integer)) for v in present)
        numbers = [np.nan if is_missing(value) else value for value in rows]
        if not whole:
            _check_exact(name, (v for v in present if isinstance(v, (int, np.integer))))
        try:
            return np.asarray(numbers, np.int64 if whole else np.float64)
        except OverflowError:
            raise ValueError(f"{name} has an integer that does not fit 64 bits") from None
    try:
        return strings(rows, n, name)
    except TypeError as error:
        raise TypeError(
            f"{error}; a column holds only strings, only numbers or only booleans: "
            "turn its values into strings with str"
        ) from None


def _check_exact(name: str, integers: Iterable[Any]) -> None:
    """Raise a ValueError if an integer would become another number in a column of floats."""
    for value in integers:
        if abs(int(value)) > _EXACT and _float(int(value)) != int(value):
            raise ValueError(
                f"{name} has the integer {shown(int(value))}, which a column with fractions or "
                "missing values cannot hold exactly; use strings"
            )


def _float(value: int) -> float:
    """Return an integer as a float, infinite if it is too large."""
    try:
        return float(value)
    except OverflowError:
        return np.inf


def _is_number(value: Any) -> bool:
    """Return whether a value is a number; a boolean is not, nor a time span of NumPy."""
    numbers = isinstance(value, (int, float, np.integer, np.floating))
    return numbers and not isinstance(value, (bool, np.timedelta64))


def take(column: Column, rows: NDArray[Any]) -> Column:
    """Return rows of a column, selected by number or by mask."""
    if isinstance(column, np.ndarray):
        return np.asarray(column[rows])
    if rows.dtype == bool:
        rows = np.flatnonzero(rows)
    return [column[row] for row in rows.tolist()]


def gather(column: Column, rows: NDArray[np.int64]) -> NDArray[np.object_]:
    """Return the values at `rows` (any shape) as objects; row -1 gives None."""
    array = np.empty(rows.shape, object)
    array.reshape(-1)[:] = [None if row < 0 else column[row] for row in rows.reshape(-1).tolist()]
    return array


def matches(name: str, column: Column, wanted: Any) -> NDArray[np.bool_]:
    """Return a mask of the rows that hold the value, or one of a list of values.

    Raises
    ------
    ValueError
        The column holds text and the value is a number, or vice versa.
    """
    values = [_checked(name, column, value) for value in _values_of(wanted)]
    if isinstance(column, np.ndarray):
        held = [_as_held(column.dtype, value) for value in values if value is not None]
        exact = [v for v in held if v is not None] + _as_widened(column, values)
        found = np.isin(column, np.asarray(exact, column.dtype))
        return found | np.isnan(column) if None in values and column.dtype.kind == "f" else found
    texts = set(values)
    spelled = (value if value is None else composed(value) for value in column)
    return np.fromiter((value in texts for value in spelled), bool, len(column))


def _as_held(dtype: np.dtype[Any], value: Any) -> Any:
    """Return a number as a column of this type holds it, or None if it cannot hold it exactly.

    NumPy would compare 64-bit integers with floats as floats, and find equal what is not.
    """
    value = value.item() if isinstance(value, (np.number, np.bool_)) else value
    if dtype.kind == "f":
        near: Any = _float(value) if isinstance(value, int) else float(value)
    else:
        near = int(value) if abs(value) < np.inf else 0
    limits = {"b": (0, 1), "i": (-(2**63), 2**63 - 1)}.get(dtype.kind, (near, near))
    return near if near == value and limits[0] <= near <= limits[1] else None


def _as_widened(column: NDArray[Any], values: Iterable[Any]) -> list[float]:
    """Return the fractions among values as a column of float32 or float16 was given holds them.

    Such a column was widened to float64, where np.float32(0.1) is not 0.1. A number with the same
    text in both types, such as 0.5, was not changed by that, so it must be equal as it is.
    """
    fractions = [v for v in values if isinstance(v, (float, np.floating)) and np.isfinite(v)]
    if column.dtype.kind != "f" or not fractions:
        return []
    found: list[float] = []
    for narrow in (np.float32, np.float16):
        with np.errstate(over="ignore"):
            near = [narrow(value) for value in fractions]
            whole = column.astype(narrow)
        changed = [float(v) for v in near if np.isfinite(v) and float(str(v)) != float(v)]
        if changed and np.array_equal(whole.astype(column.dtype), column, equal_nan=True):
            found += changed
    return found


def _values_of(wanted: Any) -> list[Any]:
    """Return the values of `where` for one column as a list, also those of other libraries."""
    wanted = python_values(wanted)
    single = isinstance(wanted, (str, bytes, os.PathLike, Mapping))
    return [wanted] if single or not isinstance(wanted, Iterable) else list(wanted)


def _checked(name: str, column: Column, value: Any) -> Any:
    """Return a value of `where` as the column holds it; None for a missing value."""
    if is_missing(value):
        return None
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    numbers = isinstance(column, np.ndarray)
    if numbers and isinstance(value, (int, float, np.number, np.bool_)):
        return value
    if not numbers and isinstance(value, str):
        return composed(value)
    held, kind = "numbers" if numbers else "text", type(value).__name__
    kind = "text" if kind == "str" else kind
    raise ValueError(f"where: column {name!r} holds {held}, got the {kind} {shown(value)}")


def align(
    columns: Mapping[str, Column], n: int, added: Mapping[str, Column], n_added: int
) -> tuple[dict[str, Column], dict[str, Column]]:
    """Return both sides with the same columns of the same types, or raise an error.

    A missing value becomes None in a column of strings and NaN in a column of floats. Integers and
    booleans have no missing value, so it is an error there.
    """
    before, after = {}, {}
    for name in [*columns, *(name for name in added if name not in columns)]:
        ours = columns[name] if name in columns and n else _missing(name, added.get(name), n)
        theirs = added[name] if name in added else _missing(name, ours, n_added)
        if isinstance(theirs, np.ndarray) and _is_empty(ours):
            ours, theirs = _filled(name, theirs, n)
        if isinstance(ours, np.ndarray) and not isinstance(theirs, np.ndarray):
            if any(value is not None for value in theirs):
                raise TypeError(f"metadata column {name!r} holds numbers, got strings")
            theirs = _missing(name, ours, n_added)
        elif isinstance(theirs, np.ndarray) and not isinstance(ours, np.ndarray):
            raise TypeError(f"metadata column {name!r} holds strings, got numbers")
        elif isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
            if (ours.dtype == bool) != (theirs.dtype == bool):
                raise TypeError(f"metadata column {name!r} mixes booleans and numbers")
            if ours.dtype != theirs.dtype:
                whole = ours if ours.dtype.kind == "i" else theirs
                _check_exact(f"metadata column {name!r}", whole.tolist())
        before[name], after[name] = ours, theirs
    return before, after


def _is_empty(column: Column) -> bool:
    """Return whether a column has no values, so that it may become one of numbers."""
    return not isinstance(column, np.ndarray) and all(value is None for value in column)


def _filled(name: str, numbers: NDArray[Any], n: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a column of `n` missing numbers, and the first numbers of that column after it."""
    if numbers.dtype == bool:
        raise ValueError(
            f"metadata column {name!r} has no values in the {n} rows before, and booleans cannot "
            "be missing; use strings or numbers"
        )
    if numbers.dtype.kind == "i":
        _check_exact(f"metadata column {name!r}", numbers.tolist())
    return np.full(n, np.nan), numbers.astype(np.float64)


def _missing(name: str, like: Column | None, n: int) -> Column:
    """Return a column of `n` missing values like another column, or raise a ValueError."""
    if not isinstance(like, np.ndarray):
        return [None] * n
    if n and like.dtype != np.float64:
        raise ValueError(f"metadata column {name!r} ({like.dtype}) has no values for {n} rows")
    return np.full(n, np.nan) if like.dtype == np.float64 else np.empty(0, like.dtype)


def merge(
    before: Column, after: Column, old: NDArray[np.int64], replaced: NDArray[np.bool_]
) -> Column:
    """Return a column with added rows: `replaced` rows go to `old`, the others to the end.

    `before` does not change. If nothing is replaced, strings are appended to a list shared by both
    columns, so that adding row by row is fast.
    """
    if isinstance(before, np.ndarray):
        added = np.asarray(after)
        values = np.concatenate([before, added[~replaced]])
        values[old] = added[replaced]
        return values
    more = [after[value] for value in np.flatnonzero(~replaced).tolist()]
    if not len(old) and isinstance(before, GrowingStrings):
        return before.followed_by(more)
    texts = list(before)
    for row, value in zip(old.tolist(), np.flatnonzero(replaced).tolist(), strict=True):
        texts[row] = after[value]
    return GrowingStrings(texts + more)
