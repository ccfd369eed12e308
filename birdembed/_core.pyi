from collections.abc import Iterable, Sequence
from typing import TypeAlias, TypedDict

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
    mirrored: bool = False,
    /,
) -> tuple[NDArray[np.float32], list[tuple[str, str]]]: ...
def resize(
    image: NDArray[np.uint8], height: int, width: int, interpolation: str, /
) -> NDArray[np.uint8]: ...
def will_need(paths: Iterable[str], /) -> None: ...

# batches.c
_Triple: TypeAlias = tuple[float, float, float]
_Box: TypeAlias = tuple[int, int, int, int]
_Warp: TypeAlias = tuple[float, float, float, float, float, float]

def epoch_order(
    labels: NDArray[np.int64], num_classes: int, balanced: bool, seed: int, epoch: int, /
) -> NDArray[np.int64]: ...
def load_images(
    items: Sequence[_Source], short_side: int, num_threads: int, /
) -> tuple[list[NDArray[np.uint8] | None], list[tuple[str, str]]]: ...
def fill_batch(
    images: Sequence[NDArray[np.uint8] | None],
    keys: NDArray[np.int64],
    augment: str | None,
    size: int,
    resize: str,
    crop_pct: float,
    interpolation: str,
    mean: _Triple,
    std: _Triple,
    seed: int,
    epoch: int,
    num_threads: int,
    /,
) -> NDArray[np.float32]: ...
def mix_batch(
    pixels: NDArray[np.float32],
    targets: NDArray[np.float32],
    keys: NDArray[np.int64],
    mixup: float,
    cutmix: float,
    seed: int,
    epoch: int,
    /,
) -> None: ...
def draw_view(
    augment: str, height: int, width: int, size: int, seed: int, epoch: int, key: int, /
) -> tuple[_Box, bool, _Warp, list[tuple[str, float]], _Box]: ...
def render_view(
    image: NDArray[np.uint8],
    size: int,
    interpolation: str,
    box: _Box,
    flip: bool,
    warp: _Warp,
    ops: list[tuple[str, float]],
    /,
) -> NDArray[np.uint8]: ...

# network.c
class Network:
    def __init__(
        self,
        architecture: str,
        num_classes: int,
        parameters: Sequence[NDArray[np.float32] | NDArray[np.float16]],
        ranges: NDArray[np.float32] | None = None,
    ) -> None: ...
    @property
    def architecture(self) -> str: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def num_features(self) -> int: ...
    def features(
        self,
        pixels: NDArray[np.float32],
        gem: bool = False,
        num_threads: int = 0,
        precision: str = "float32",
    ) -> NDArray[np.float32]: ...
    def maps(
        self, pixels: NDArray[np.float32], num_threads: int = 0, precision: str = "float32"
    ) -> NDArray[np.float32]: ...
    def largest(self, pixels: NDArray[np.float32], num_threads: int = 0) -> NDArray[np.float32]: ...
    def head(self, features: NDArray[np.float32], /) -> NDArray[np.float32]: ...
    def conv_statistics(
        self, pixels: NDArray[np.float32], num_threads: int = 0
    ) -> list[NDArray[np.float32]]: ...
    def parameters(self) -> list[NDArray[np.float32]]: ...

class _Backend(TypedDict):
    onednn: str
    isa: str
    bfloat16: bool
    int8: bool

# model.c
def parameter_table(
    architecture: str, num_classes: int, /
) -> list[tuple[str, tuple[int, ...]]]: ...
def architectures() -> list[str]: ...
def num_features(architecture: str, /) -> int: ...
def linear(src: NDArray[np.float32], weights: NDArray[np.float32], /) -> NDArray[np.float32]: ...
def all_finite(numbers: NDArray[np.float32] | NDArray[np.float16], /) -> bool: ...
def backend() -> _Backend: ...

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

# trainer.c
class Trainer:
    def __init__(
        self, architecture: str, num_classes: int, parameters: Sequence[NDArray[np.float32]]
    ) -> None: ...
    @property
    def step_count(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def configure(
        self,
        bn: str,
        trainable: Sequence[bool],
        bn_momentum: float = 0.1,
        precision: str = "float32",
    ) -> None: ...
    def forward(self, pixels: NDArray[np.float32], num_threads: int = 0) -> NDArray[np.float32]: ...
    def head_loss(
        self, targets: NDArray[np.float32], weights: NDArray[np.float32] | None = None
    ) -> tuple[float, NDArray[np.float32]]: ...
    def backward(
        self,
        d_features: NDArray[np.float32] | None = None,
        accumulate: bool = False,
        scale: float = 1.0,
    ) -> None: ...
    def grad_norm(self, num_threads: int = 0) -> float: ...
    def apply(
        self,
        kind: str,
        lr: NDArray[np.float32],
        weight_decay: NDArray[np.float32],
        momentum: float = 0.9,
        nesterov: bool = False,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        grad_scale: float = 1.0,
        ema_decay: float = 0.0,
        num_threads: int = 0,
    ) -> None: ...
    def gradients(self) -> list[NDArray[np.float32]]: ...
    def parameters(self) -> list[NDArray[np.float32]]: ...
    def set_parameters(self, parameters: Sequence[NDArray[np.float32]], /) -> None: ...
    def moments(self) -> dict[str, list[NDArray[np.float32]]]: ...
    def set_moments(self, moments: dict[str, list[NDArray[np.float32]]], step: int) -> None: ...
    def ema(self) -> list[NDArray[np.float32]] | None: ...
    def set_ema(self, ema: Sequence[NDArray[np.float32]] | None, /) -> None: ...
    def network(self, ema: bool = False) -> Network: ...

# system.c
def set_num_threads(n: int, /) -> None: ...
def get_num_threads() -> int: ...
def available_cpus() -> int: ...
