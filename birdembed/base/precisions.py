"""Names of the precisions that a network can compute in."""

from __future__ import annotations

import os

from birdembed import _core
from birdembed._core import BackendError
from birdembed.base.checks import check_choice

#: Values of `precision` for a model.
PRECISIONS = ("float32", "bfloat16", "int8", "auto")
#: Values of `precision` for training.
TRAINING_PRECISIONS = ("float32", "bfloat16", "auto")
#: Precisions below float32, the fastest first.
FASTEST_FIRST = ("int8", "bfloat16")
VARIABLE = "BIRDEMBED_PRECISION"
#: Processor features that a precision needs.
_NEEDS = {"bfloat16": "AVX512_BF16 or AMX", "int8": "AVX2"}


def native_precisions() -> list[str]:
    """Return the precisions that this processor supports natively, float32 first."""
    backend = _core.backend()
    found = {"bfloat16": backend["bfloat16"], "int8": backend["int8"]}
    return ["float32"] + [name for name, native in found.items() if native]


def faster_than_float32() -> str:
    """Return a one-line hint on how to embed faster than in float32, or "" if there is none."""
    if "bfloat16" not in native_precisions():
        return ""
    return (
        "bfloat16 takes about half the time: load_model(precision='auto'), --precision auto or "
        f"{VARIABLE}=auto"
    )


def check_native(precision: str, what: str) -> None:
    """Raise a `BackendError` if this processor does not support a precision.

    `what` is the feature that needs it, for the message.
    """
    if precision not in native_precisions():
        raise BackendError(
            f"{what} needs a processor with {_NEEDS[precision]}, but oneDNN found "
            f"{_core.backend()['isa']}; use precision='float32', or 'auto', which uses "
            "what the processor supports"
        )


def asked_precision(value: str | None) -> str:
    """Return the requested precision; None means BIRDEMBED_PRECISION or, if not set, float32.

    Raises
    ------
    ValueError
        The precision is unknown.
    BackendError
        This processor does not support it.
    """
    name = "precision"
    if value is None:
        value, name = os.environ.get(VARIABLE) or "float32", VARIABLE
    check_choice(name, value, PRECISIONS)
    if value != "auto":
        check_native(value, f"{name}={value!r}")
    return value


def precision_of_model(value: str | None, quantized: bool) -> str:
    """Return the precision for a model, like `asked_precision`, and check that int8 is possible.

    The default for a quantized model is int8.

    Raises
    ------
    ValueError
        The precision is unknown, or it is int8 and the model is not quantized.
    BackendError
        This processor does not support it.
    """
    if value is None and quantized and not os.environ.get(VARIABLE):
        check_native("int8", "this model is quantized, and int8")
        return "int8"
    value = asked_precision(value)
    if value == "int8" and not quantized:
        raise ValueError(
            "precision='int8' only works for quantized models, and this model is not quantized; "
            "load it with precision='float32' and call model.quantize(images)"
        )
    return value
