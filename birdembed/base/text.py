"""Text for messages."""

from __future__ import annotations

import re
import reprlib
import unicodedata
from collections.abc import Callable, Iterable

import numpy as np

#: Control characters and other characters that end a line.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONE = re.compile("[\ud800-\udfff]")


def in_one_line(text: str) -> str:
    r"""Return a name on one line, with control characters escaped as ``\n``, ``\t``, ``\x1b``.

    If a name has control characters, backslashes are doubled; other names are unchanged.
    """
    if not _CONTROL.search(text):
        return text
    doubled = text.replace("\\", "\\\\")
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], doubled)


def readable(text: str) -> str:
    """Return text that can be written as UTF-8; invalid bytes of file names become U+FFFD."""
    return _LONE.sub("\ufffd", text)


class _Short(reprlib.Repr):
    """Short reprs of untrusted values, without calling their own methods."""

    def repr_instance(self, x: object, level: int) -> str:
        """Return the repr of simple values, and the type of others."""
        x = x.item() if isinstance(x, np.generic) else x
        simple = isinstance(x, (bool, int, float, complex, bytes, type(None)))
        return shortened(repr(x[:80] if isinstance(x, bytes) else x), 80) if simple else _type(x)

    def repr_int(self, x: int, level: int) -> str:
        """Return a number; Python raises an error for very long ones."""
        return repr(x) if x.bit_length() < 256 else _type(x)


def _type(value: object) -> str:
    return f"<{type(value).__name__}>"


def shown(value: object) -> str:
    """Return a short `repr` of any value for a message, even if it is large or nested."""
    short = _Short()
    short.maxstring, short.maxlevel = 80, 3
    return shortened(short.repr(value), 160)


def error_text(error: BaseException) -> str:
    """Return the message of an error, shortened."""
    if all(isinstance(part, (str, int)) for part in error.args):
        return shortened(str(error), 300)
    return shown(error.args)


def shortened(text: str, limit: int) -> str:
    """Return text of at most `limit` characters; longer text ends with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def composed(text: str) -> str:
    """Return text with each accented letter as one character (NFC).

    File systems return a name in either form, so names are compared in this one.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def some(
    names: Iterable[str],
    limit: int = 5,
    *,
    show: Callable[[str], str] = repr,
    between: str = ", ",
) -> str:
    """Return the first few names, quoted unless `show` is `str`, and the number of the others."""
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return between.join(map(show, listed[:limit])) + more


def counted(n: int, one: str, many: str | None = None) -> str:
    """Return a number and its noun: "1 image", "1,200 images"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def probability(value: float | None) -> str:
    """Return a probability as text, "" for None; never 1.00, because nothing is certain."""
    if value is None:
        return ""
    if value >= 0.995:
        return "probability above 0.99"
    return f"probability {value:.2f}" if value >= 0.005 else "probability below 0.01"
