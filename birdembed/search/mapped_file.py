"""Notice that a mapped file was written into."""

from __future__ import annotations

import os
import weakref
from typing import BinaryIO

from birdembed._core import BirdembedError


class IndexFileError(BirdembedError, ValueError):
    """A file is not an index, or is damaged."""


class MappedFile:
    """A file that an index is mapped from, kept open.

    A file that is replaced by renaming stays what it was for those who have it open. One that is
    written into, as `cp` and `rsync --inplace` do, gives other vectors, or ends the process with
    SIGBUS where it has become shorter.

    Parameters
    ----------
    path : str
        Names it in the error.
    file : binary file
        Opened for reading; this object keeps a descriptor of its own.
    """

    def __init__(self, path: str, file: BinaryIO):
        self._path = path
        self._fd = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._fd).atexit = False
        self._state = self._now()

    def _now(self) -> tuple[int, int, int]:
        """Return the size, the time of the last change and the number of the file."""
        state = os.fstat(self._fd)
        return state.st_size, state.st_mtime_ns, state.st_ino

    def check(self) -> None:
        """Raise `IndexFileError` where the file was written into since it was mapped."""
        if self._now() != self._state:
            raise IndexFileError(
                f"{self._path}: the file was written into after it was loaded; load it again. "
                "Replace index files by renaming, as Index.save does, or load with mmap=False"
            )
