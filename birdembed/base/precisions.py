"""Names of the precisions that a network can compute in."""

from __future__ import annotations

import os

from birdembed import _core
from birdembed._core import BackendError
from birdembed.base.checks import check_choice

#: What may be asked for, of a model and of a training.
PRECISIONS = ("float32", "bfloat16", "auto")
#: Those below float32, the fastest first.
FASTEST_FIRST = ("bfloat16",)
VARIABLE = "BIRDEMBED_PRECISION"


def native_precisions() -> list[str]:
    """Return the precisions that this processor computes in by itself, float32 first."""
    return ["float32"] + (["bfloat16"] if _core.backend()["bfloat16"] else [])


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
    if value != "auto" and value not in native_precisions():
        raise BackendError(
            f"{name}={value!r} needs a processor with AVX512_BF16 or AMX, and oneDNN finds "
            f"{_core.backend()['isa']} here: use 'float32', or 'auto', which takes what there is"
        )
    return value
