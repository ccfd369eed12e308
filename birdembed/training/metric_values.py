"""Turn the values that callbacks add to an epoch into values that JSON can store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from birdembed.base.text import shown

_LARGEST = 1 << 1000  # larger than any float; Python does not print much longer numbers


def make_plain(logs: dict[Any, Any], measured: Mapping[str, Any]) -> list[str]:
    """Replace NumPy values by those of Python, and NaN and infinity by None, in place.

    Parameters
    ----------
    logs : dict
        Values of an epoch. Those that JSON cannot store are removed.
    measured : mapping
        The values before the callbacks were called: numbers that must stay numbers. Those that
        were removed or are no longer numbers are set again.

    Returns
    -------
    list of str
        For each wrong value its key and what is allowed.
    """
    wrong = []
    for name, value in list(logs.items()):
        try:
            if not isinstance(name, str):
                raise TypeError("keys must be text")
            logs[name] = _plain(value)
            if name in measured and not isinstance(logs[name], (int, float, type(None))):
                raise TypeError(f"expected a number, got {shown(value)}")
        except (TypeError, RecursionError) as error:
            del logs[name]
            what = "nested too deeply" if isinstance(error, RecursionError) else error
            wrong.append(f"{shown(name)}: {what}")
    for name in ("epoch", "step"):  # the loop counts them
        logs[name] = measured[name]
    logs |= {name: value for name, value in measured.items() if name not in logs}
    return wrong


def _plain(value: Any) -> Any:
    """Return a value of JSON; raise a TypeError for others."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (np.bool_, np.integer)):
        value = value.item()
    if isinstance(value, (float, np.floating)):
        value = float(value)
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return str(value)
    if value is None or (isinstance(value, int) and abs(value) < _LARGEST):
        return value
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    raise TypeError(f"expected numbers, text, lists or dicts, got {shown(value)}")
