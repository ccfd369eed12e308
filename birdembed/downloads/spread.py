"""Choose some items of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_Item = TypeVar("_Item")


def spread(items: Sequence[_Item], n: int | None) -> list[_Item]:
    """Return at most n of the items, spread evenly over the list; None returns all."""
    if n is None or n >= len(items):
        return list(items)
    return [items[int((i + 0.5) * len(items) / n)] for i in range(n)]
