"""Numbers in addresses and forms: the same words are numbers in both."""

from __future__ import annotations

from typing import Any


def whole(word: Any) -> Any:
    """Return the word if it is a whole number: ASCII digits, without a sign.

    Raises
    ------
    ValueError
        It is not; the message ends a sentence that begins with the name.
    """
    if not (isinstance(word, str) and word.isascii() and word.isdecimal()):
        raise ValueError("expected a whole number in digits")
    return word


def ascii_number(word: Any) -> Any:
    """Return the word unless it only is a number for Python: other digits, underscores."""
    if not (isinstance(word, str) and word.isascii() and "_" not in word):
        raise ValueError("expected a number")
    return word
