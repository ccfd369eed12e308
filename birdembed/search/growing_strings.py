"""A column of strings that can grow while shorter views of it do not change."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import overload


class GrowingStrings(Sequence["str | None"]):
    """The first `n` strings of a list that is shared with longer columns.

    Appending takes time proportional to the appended strings: the list is shared, and each column
    stores how many of its strings it uses. A second column grown from the same one copies the list.
    """

    __slots__ = ("_list", "_n")

    def __init__(self, strings: list[str | None], n: int | None = None):
        self._list, self._n = strings, len(strings) if n is None else n

    def followed_by(self, more: Sequence[str | None]) -> GrowingStrings:
        """Return a column with more strings at the end; this one does not change."""
        strings = self._list if self.is_newest else self._list[: self._n]
        strings.extend(list(more))
        return GrowingStrings(strings, self._n + len(more))

    @property
    def is_newest(self) -> bool:
        """Whether nothing has been appended to this column yet."""
        return len(self._list) == self._n

    def __len__(self) -> int:
        """Return the number of strings."""
        return self._n

    @overload
    def __getitem__(self, row: int) -> str | None: ...
    @overload
    def __getitem__(self, row: slice) -> list[str | None]: ...
    def __getitem__(self, row: int | slice) -> str | list[str | None] | None:
        """Return one string, or several as a list."""
        if isinstance(row, slice):
            return [self._list[i] for i in range(*row.indices(self._n))]
        return self._list[range(self._n)[row]]

    def __iter__(self) -> Iterator[str | None]:
        """Iterate over the strings."""
        return itertools.islice(self._list, self._n)
