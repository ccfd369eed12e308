"""Information about this machine, and the number of threads."""

from __future__ import annotations

import os
from typing import Any

from birdembed import _core
from birdembed._core import get_num_threads as get_num_threads
from birdembed._version import __version__
from birdembed.base.precisions import VARIABLE, faster_than_float32, native_precisions

# Of the processor's many features, those that decide speed here.
_FEATURES = (
    "avx2 fma avx_vnni avx512f avx512bw avx512vl avx512_vnni avx512_bf16 avx512_fp16 amx_tile "
    "amx_int8 amx_bf16"
).split()


def set_num_threads(n: int) -> None:
    """Set how many threads calls of this process use.

    Parameters
    ----------
    n : int
        1 to 1024; 0 gives the choice back: OMP_NUM_THREADS, else the smaller of CPU affinity
        and cgroup quota. A call's own ``num_threads=`` goes before it.

    Raises
    ------
    ValueError
        n is out of range.
    """
    _core.set_num_threads(n)


def _cpu_features() -> list[str]:
    """Return those of `_FEATURES` that this processor has; none where the system does not say."""
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
    """Return the version, oneDNN's version, the instruction set and the number of threads.

    Returns
    -------
    dict
        ``version``; ``onednn``, the library's version; ``isa``, the instruction set it uses
        (ONEDNN_MAX_CPU_ISA lowers it); ``cpu_features``, the processor's; ``threads``, what
        calls use by default; ``cpus``, what affinity and cgroup quota grant; ``precisions``
        that are native here; ``precision``, what `load_model` takes unless told otherwise; where
        another is faster, ``faster`` says which, and how to have it.
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
