"""Text for messages."""

from __future__ import annotations

import re
import reprlib
import unicodedata
from collections.abc import Callable, Iterable

#: Control characters and what else ends a line.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONE = re.compile("[\ud800-\udfff]")


def in_one_line(text: str) -> str:
    r"""Return a name as one line: control characters as ``\n``, ``\t``, ``\x1b``.

    Backslashes are doubled where there are such; other names stay as they are.
    """
    if not _CONTROL.search(text):
        return text
    doubled = text.replace("\\", "\\\\")
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], doubled)


def readable(text: str) -> str:
    """Return a text that can be written as UTF-8: bytes of names that are none become U+FFFD."""
    return _LONE.sub("\ufffd", text)


class _Short(reprlib.Repr):
    """Reprs of values that may come from anywhere: nothing of theirs is asked."""

    def repr_instance(self, x: object, level: int) -> str:
        """Return simple values as they are, of others the type."""
        simple = isinstance(x, (bool, float, complex, bytes, type(None)))
        return shortened(repr(x[:80] if isinstance(x, bytes) else x), 80) if simple else _type(x)

    def repr_int(self, x: int, level: int) -> str:
        """Return a number; Python refuses to write very long ones."""
        return repr(x) if x.bit_length() < 256 else _type(x)


def _type(value: object) -> str:
    return f"<{type(value).__name__}>"


def shown(value: object) -> str:
    """Return the `repr` of any value for a message, short however large or nested it is."""
    short = _Short()
    short.maxstring, short.maxlevel = 80, 3
    return shortened(short.repr(value), 160)


def error_text(error: BaseException) -> str:
    """Return what an error says, short whatever it holds."""
    if all(isinstance(part, (str, int)) for part in error.args):
        return shortened(str(error), 300)
    return shown(error.args)


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
