"""Check the option `loss`, and convert it to JSON and back."""

from __future__ import annotations

import re
from typing import Any

from birdembed.training.losses import SupCon

CROSS_ENTROPY = "cross_entropy"


def check_loss(value: Any) -> Any:
    """Check the option; return "cross_entropy", a callable, or a tuple of these."""
    given = value if isinstance(value, (list, tuple)) else [value]
    wrong = [one for one in given if not callable(one) and not _is_default(one)]
    if wrong or not given:
        raise ValueError(
            "loss must be 'cross_entropy' or a callable (features, labels) -> (loss, d_features), "
            f"or a list of these, got {wrong[0] if wrong else value!r}"
        )
    classes = [one.__name__ for one in given if isinstance(one, type)]
    if classes:
        raise TypeError(f"loss is the class {classes[0]}; pass an instance of it: {classes[0]}()")
    return tuple(value) if isinstance(value, (list, tuple)) else value


def own_losses(value: Any) -> tuple[Any, ...]:
    """Return the callables of a checked `loss`."""
    given = value if isinstance(value, tuple) else (value,)
    return tuple(one for one in given if callable(one))


def loss_to_json(value: Any) -> Any:
    """Return a checked `loss` as a JSON value; a callable becomes its repr."""
    if isinstance(value, tuple):
        return [loss_to_json(one) for one in value]
    return loss_text(value) if callable(value) else value


def loss_text(loss: Any) -> str:
    """Return the repr of a loss without the address of a function, which is another each time."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(loss))


def loss_of_json(value: Any) -> Any:
    """Return the `loss` for a value from `loss_to_json`; a callable is returned unchanged.

    Raises
    ------
    ValueError
        The loss was a custom callable.
    """
    if isinstance(value, (list, tuple)):
        return tuple(loss_of_json(one) for one in value)
    if not isinstance(value, str) or _is_default(value):
        return value
    known = SupCon.from_repr(value)
    if known is None:
        raise ValueError(f"the checkpoint was made with the loss {value}; pass it again as loss=")
    return known


def _is_default(value: Any) -> bool:
    return isinstance(value, str) and value == CROSS_ENTROPY
