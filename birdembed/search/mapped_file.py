"""Detect that a mapped file was overwritten."""

from __future__ import annotations

import os
import weakref
from typing import BinaryIO

from birdembed._core import BirdembedError
from birdembed.base.files import file_state


class IndexFileError(BirdembedError, ValueError):
    """A file is not an index, or is damaged."""


class MappedFile:
    """An open file that an index is mapped from.

    A file replaced by renaming does not change for processes that have it open. A file that is
    overwritten in place, as `cp` and `rsync --inplace` do, gives wrong vectors, or kills the
    process with SIGBUS if it became shorter.

    Parameters
    ----------
    path : str
        Path for the error message.
    file : binary file
        Opened for reading. This object duplicates its descriptor.
    """

    def __init__(self, path: str, file: BinaryIO):
        self._path = path
        self._fd = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._fd).atexit = False
        self._state = self._now()

    def _now(self) -> tuple[int, int, int]:
        """Return the state of the file."""
        return file_state(os.fstat(self._fd))

    def check(self) -> None:
        """Raise `IndexFileError` if the file was overwritten since it was mapped."""
        if self._now() != self._state:
            raise IndexFileError(
                f"{self._path}: the file was overwritten after it was loaded; load it again. To "
                "avoid this, replace index files by renaming, as Index.save does, or load them "
                "with mmap=False"
            )
