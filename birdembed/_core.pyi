"""The C core. Private: what users call is in the package."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_Source: TypeAlias = str | bytes | NDArray[np.uint8]

class BirdembedError(Exception): ...
class DecodeError(BirdembedError, ValueError): ...
class WeightsError(BirdembedError, ValueError): ...
class FingerprintMismatch(BirdembedError, ValueError): ...
class BackendError(BirdembedError, RuntimeError): ...

# image.c
def decode(source: _Source, /) -> NDArray[np.uint8]: ...
def prepare(
    items: Sequence[_Source],
    size: int,
    resize: str,
    crop_pct: float,
    interpolation: str,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    num_threads: int,
    /,
) -> tuple[NDArray[np.float32], list[tuple[str, str]]]: ...
def resize(
    image: NDArray[np.uint8], height: int, width: int, interpolation: str, /
) -> NDArray[np.uint8]: ...
def will_need(paths: Iterable[str], /) -> None: ...

# search.c
def cosine_topk(
    queries: NDArray[np.float32],
    corpus: NDArray[np.float32],
    k: int,
    normalized: bool,
    rows: NDArray[np.int64] | None,
    /,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...
def cosine_matrix(
    queries: NDArray[np.float32], corpus: NDArray[np.float32], /
) -> NDArray[np.float32]: ...
def search_isa() -> str: ...

# system.c
def set_num_threads(n: int, /) -> None: ...
def get_num_threads() -> int: ...
def available_cpus() -> int: ...
