"""Tell whether two paths lead to the same file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray


def real_paths(*, follow: bool = True) -> Callable[[str], str]:
    """Return a function that gives the one path of a file, however it is spelled.

    Without `follow`, a link to a file keeps its own name; the folders above it have none. The
    links of each folder are followed once, because that needs a system call per part of a path.
    """
    folder_of = cache(os.path.realpath)

    def real(path: str) -> str:
        folder, name = os.path.split(path)
        try:
            if name in ("", ".", "..") or (follow and os.path.islink(path)):
                return os.path.realpath(path)
            return os.path.join(folder_of(folder), name)
        except ValueError:  # a NUL, in a column of paths that another program wrote
            return path

    return real


def file_numbers(paths: Sequence[str | None]) -> NDArray[np.int64]:
    """Return the first row of the file of each row: equal for rows of the same file.

    A row without a path is a file of its own.
    """
    real = real_paths()
    rows: dict[str, int] = {}
    return np.asarray(
        [
            row if path is None else rows.setdefault(real(path), row)
            for row, path in enumerate(paths)
        ],
        np.int64,
    )
