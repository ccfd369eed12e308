"""Write and read JSON."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any


def json_text(value: Any, *, ascii_only: bool = False, **options: Any) -> str:
    """Return JSON that can be written as UTF-8; it is ASCII if a string is not valid Unicode.

    NaN and infinity, which JSON does not have, become null.
    """
    if not ascii_only:
        text = _dumped(value, ensure_ascii=False, **options)
        with contextlib.suppress(UnicodeEncodeError):
            text.encode()
            return text
    return _dumped(value, **options)


def _dumped(value: Any, **options: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, **options)


def _finite(value: Any) -> Any:
    """Return a value with None for each float that is not finite."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_object(text: str | bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises
    ------
    ValueError
        The text is not JSON, nested too deeply, or not an object.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")
    return value
