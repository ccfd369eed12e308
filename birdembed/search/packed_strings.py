"""Pack the strings of a column into one block of text with offsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from birdembed.search.mapped_file import IndexFileError


class PackedStrings(Sequence["str | None"]):
    """A sequence of strings as stored in an index file, decoded on access.

    Parameters
    ----------
    blob : ndarray
        UTF-8 text of all strings, `(bytes,)` uint8.
    offsets : ndarray
        Start of each string, and end of the last, `(n + 1,)` int64.
    present : ndarray or None
        `(n,)` bool, False for a missing string. None: no string is missing.
    name : str
        Path of the file, for error messages.
    """

    def __init__(
        self,
        blob: NDArray[np.uint8],
        offsets: NDArray[np.int64],
        present: NDArray[np.bool_] | None = None,
        name: str = "",
    ):
        self.blob, self.offsets, self.present = blob, offsets, present
        self._name = name

    @classmethod
    def pack(cls, strings: Sequence[str | None]) -> PackedStrings:
        """Pack a list of strings."""
        if isinstance(strings, PackedStrings):
            return strings
        parts = [b"" if text is None else text.encode("utf-8", "surrogatepass") for text in strings]
        offsets = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        blob = np.frombuffer(b"".join(parts), np.uint8)
        present = np.asarray([text is not None for text in strings], bool)
        return cls(blob, offsets, None if present.all() else present)

    def __len__(self) -> int:
        """Return the number of strings."""
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, row: int) -> str | None: ...
    @overload
    def __getitem__(self, row: slice) -> list[str | None]: ...
    def __getitem__(self, row: int | slice) -> str | list[str | None] | None:
        """Return one string, or several, decoded."""
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        row = range(len(self))[row]
        if self.present is not None and not self.present[row]:
            return None
        text = self.blob[self.offsets[row] : self.offsets[row + 1]].tobytes()
        return self._decoded(text)

    def _decoded(self, text: bytes) -> str:
        """Decode a string of the file; invalid UTF-8 is only detected here."""
        try:
            return text.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise IndexFileError(f"{self._name}: damaged: a string is not UTF-8") from error

    def __iter__(self) -> Iterator[str | None]:
        """Yield all strings, decoded."""
        text = self.blob.tobytes()
        offsets = self.offsets.tolist()
        present = [True] * len(self) if self.present is None else self.present.tolist()
        for begin, end, there in zip(offsets[:-1], offsets[1:], present, strict=True):
            yield self._decoded(text[begin:end]) if there else None
