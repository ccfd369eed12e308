"""Write and read JSON."""

from __future__ import annotations

import json
from typing import Any


def json_text(value: Any, **options: Any) -> str:
    """Return JSON that can be written as UTF-8, in ASCII where a name in it is no Unicode text."""
    text = json.dumps(value, ensure_ascii=False, **options)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, **options)
    return text


def json_object(text: str | bytes) -> dict[str, Any]:
    """Return the object that JSON text holds.

    Raises
    ------
    ValueError
        It is no JSON, nested too deeply, or no object.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")
    return value
