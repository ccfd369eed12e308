"""Names of the precisions that a network can compute in."""

from __future__ import annotations

import os

from birdembed import _core
from birdembed._core import BackendError
from birdembed.base.checks import check_choice

#: What may be asked for, of a model.
PRECISIONS = ("float32", "bfloat16", "int8", "auto")
#: What may be asked for, of a training.
TRAINING_PRECISIONS = ("float32", "bfloat16", "auto")
#: Those below float32, the fastest first.
FASTEST_FIRST = ("int8", "bfloat16")
VARIABLE = "BIRDEMBED_PRECISION"
#: What a processor must have for a precision.
_NEEDS = {"bfloat16": "AVX512_BF16 or AMX", "int8": "AVX512_VNNI"}


def native_precisions() -> list[str]:
    """Return the precisions that this processor computes in by itself, float32 first."""
    backend = _core.backend()
    found = {"bfloat16": backend["bfloat16"], "int8": backend["int8"]}
    return ["float32"] + [name for name, native in found.items() if native]


def faster_than_float32() -> str:
    """Return in one line how to embed faster than in float32; "" where nothing is faster here."""
    if "bfloat16" not in native_precisions():
        return ""
    return (
        "bfloat16 takes about half the time: load_model(precision='auto'), --precision auto or "
        f"{VARIABLE}=auto"
    )


def check_native(precision: str, what: str) -> None:
    """Raise `BackendError` where this processor has not got a precision.

    `what` needs it, for the message.
    """
    if precision not in native_precisions():
        raise BackendError(
            f"{what} needs a processor with {_NEEDS[precision]}, and oneDNN finds "
            f"{_core.backend()['isa']} here: use precision='float32', or 'auto', which takes "
            "what there is"
        )


def asked_precision(value: str | None) -> str:
    """Return the precision that is asked for; None: that of BIRDEMBED_PRECISION, else float32.

    Raises
    ------
    ValueError
        There is none of that name.
    BackendError
        This processor has not got it.
    """
    name = "precision"
    if value is None:
        value, name = os.environ.get(VARIABLE) or "float32", VARIABLE
    check_choice(name, value, PRECISIONS)
    if value != "auto":
        check_native(value, f"{name}={value!r}")
    return value


def precision_of_model(value: str | None, quantized: bool) -> str:
    """Return the precision that a model is to have, as `asked_precision`, and int8 fits it.

    Where nothing is asked for, it is int8 for a model that was quantized.

    Raises
    ------
    ValueError
        There is none of that name, or it is int8 and the model was not quantized.
    BackendError
        This processor has not got it.
    """
    if value is None and quantized and not os.environ.get(VARIABLE):
        check_native("int8", "this model was quantized, and int8")
        return "int8"
    value = asked_precision(value)
    if value == "int8" and not quantized:
        raise ValueError(
            "precision='int8' is for models that were quantized, and this one was not: load it "
            "with precision='float32', then model.quantize(images) measures what int8 needs"
        )
    return value
