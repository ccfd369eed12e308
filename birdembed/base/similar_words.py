"""Suggest known words that are similar to an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question that suggests the most similar known words, or "" if there are none.

    Words are compared without regard to case, and options without their dashes.
    """
    bare = {name.lstrip("-").lower(): name for name in known}
    close = difflib.get_close_matches(word.lstrip("-").lower(), list(bare), n=2, cutoff=0.7)
    return f"; did you mean {' or '.join(bare[name] for name in close)}?" if close else ""
