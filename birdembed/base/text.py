"""Text for messages."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable


def shortened(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters; what is cut off is marked by an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def composed(text: str) -> str:
    """Return a text with each accent and its letter as one character (NFC).

    File systems give the same name back in one form or the other; compared are composed names.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def some(
    names: Iterable[str],
    limit: int = 5,
    *,
    show: Callable[[str], str] = repr,
    between: str = ", ",
) -> str:
    """Return the first few names, quoted unless `show` is `str`, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return between.join(map(show, listed[:limit])) + more


def probability(value: float | None) -> str:
    """Return a probability as text, "" for None. Nothing is certain: 1.00 is not said."""
    if value is None:
        return ""
    if value >= 0.995:
        return "probability above 0.99"
    return f"probability {value:.2f}" if value >= 0.005 else "probability below 0.01"
