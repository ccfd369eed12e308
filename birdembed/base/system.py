"""Information about this machine, and the number of threads."""

from __future__ import annotations

import os
from typing import Any

from birdembed import _core
from birdembed._core import get_num_threads as get_num_threads
from birdembed._version import __version__
from birdembed.base.checks import MAX_THREADS, check_integer
from birdembed.base.precisions import VARIABLE, faster_than_float32, native_precisions

# The processor features that matter for speed.
_FEATURES = (
    "avx2 fma avx_vnni avx512f avx512bw avx512vl avx512_vnni avx512_bf16 avx512_fp16 amx_tile "
    "amx_int8 amx_bf16"
).split()


def set_num_threads(n: int) -> None:
    """Set the number of threads that calls in this process use by default.

    Parameters
    ----------
    n : int
        1 to 1024. 0 restores the default: OMP_NUM_THREADS if set, else the smaller of CPU
        affinity and cgroup quota. The argument ``num_threads=`` of a call takes precedence.

    Raises
    ------
    ValueError
        `n` is out of range.
    """
    _core.set_num_threads(check_integer("num_threads", n, 0, MAX_THREADS))


def _cpu_features() -> list[str]:
    """Return which of `_FEATURES` this processor has; empty if the system does not tell."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("flags"):
                    flags = set(line.split())
                    return [name for name in _FEATURES if name in flags]
    except OSError:
        pass
    return []


def info() -> dict[str, Any]:
    """Return versions, instruction set, number of threads and precisions.

    Returns
    -------
    dict
        ``version``; ``onednn``, the version of oneDNN; ``isa``, the instruction set it uses
        (limited by ONEDNN_MAX_CPU_ISA); ``cpu_features`` of the processor; ``threads``, the
        default number of threads; ``cpus``, the number of CPUs available by affinity and cgroup
        quota; ``precisions``, the native ones; ``precision``, the default of `load_model`; and
        ``faster``, if another precision is faster: which one, and how to use it.
    """
    backend = _core.backend()
    native, precision = native_precisions(), os.environ.get(VARIABLE) or "float32"
    facts = {
        "version": __version__,
        "onednn": backend["onednn"],
        "isa": backend["isa"],
        "cpu_features": _cpu_features(),
        "threads": _core.get_num_threads(),
        "cpus": _core.available_cpus(),
        "precisions": native,
        "precision": precision,
    }
    faster = [faster_than_float32()]
    if "int8" in native:
        faster.append("int8 takes about a third, for a model after model.quantize(images)")
    if precision == "float32" and any(faster):
        facts["faster"] = "; ".join(filter(None, faster))
    return facts
