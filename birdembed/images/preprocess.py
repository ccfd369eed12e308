"""Resize, crop and normalise images for the network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from birdembed import _core
from birdembed._core import DecodeError
from birdembed.base.checks import check_boolean, check_choice, check_integer
from birdembed.base.public import public
from birdembed.base.text import shown
from birdembed.images.decoding import decode_by_pillow
from birdembed.images.sources import Source

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@public
@dataclass(frozen=True)
class Preprocess:
    """Options for converting an image to network input.

    Parameters
    ----------
    size : int
        Side of the square network input, in pixels.
    resize : {"squash", "shortest"}
        ``"squash"``: resize both sides to ``floor(size / crop_pct)``, without keeping the aspect
        ratio. ``"shortest"``: resize the short side to that, and the long side to
        ``int(short * long / short_before)``. Then the centre of size x size is cropped, at
        ``int(round(d / 2))``, rounding half to even.
    crop_pct : float
        Above 0, at most 1.
    interpolation : {"bilinear", "bicubic"}
        Antialiased; bit-for-bit the same as in Pillow.
    mean, std : 3 floats each
        Mean and standard deviation for red, green, blue, in the range 0 to 1. Default: those of
        ImageNet.
    mirror : bool
        Use the mean of the embeddings of the image and its mirror image. The model does this;
        `preprocess` returns only the image itself.
    """

    size: int = 224
    resize: Literal["squash", "shortest"] = "squash"
    crop_pct: float = 1.0
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    mirror: bool = False

    def __post_init__(self) -> None:
        """Check every field, and convert numbers and sequences to plain Python types."""
        size = check_integer("size", self.size, 1, 8192)
        check_choice("resize", self.resize, ("squash", "shortest"))
        check_choice("interpolation", self.interpolation, ("bilinear", "bicubic"))
        mirror = check_boolean("mirror", self.mirror)
        set_field = object.__setattr__
        set_field(self, "size", size)
        set_field(self, "mirror", mirror)
        set_field(self, "crop_pct", _float("crop_pct", self.crop_pct))
        set_field(self, "mean", _three("mean", self.mean))
        set_field(self, "std", _three("std", self.std))
        # The core knows the limits; an empty call makes it check them.
        prepare([], self, 1)


def largest_pixel(preprocess: Preprocess) -> float:
    """Return the largest absolute value that a pixel can have after normalisation."""
    sides = zip(preprocess.mean, preprocess.std, strict=True)
    return max(max(abs(mean), abs(1 - mean)) / std for mean, std in sides)


def check_preprocess(value: Any) -> Preprocess:
    """Return the value; raise a TypeError if it is not a `Preprocess`."""
    if not isinstance(value, Preprocess):
        raise TypeError(f"preprocess must be a Preprocess, got {type(value).__name__}")
    return value


def _float(name: str, value: Any) -> float:
    if isinstance(value, (str, bytes, bool)):
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    try:
        number = float(value)
    except TypeError:
        raise TypeError(f"{name} must be a number, got {shown(value)}") from None
    except OverflowError:  # an integer
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {shown(value)}")
    return number


def _three(name: str, values: Any) -> tuple[float, float, float]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be three numbers, got {shown(values)}")
    numbers = tuple(_float(name, value) for value in values)
    if len(numbers) != 3:
        raise ValueError(f"{name} must be three numbers, got {len(numbers)}")
    return numbers


def prepare(
    data: Sequence[Any], cfg: Any, num_threads: int, mirrored: bool = False
) -> tuple[np.ndarray, list[Any]]:
    """Decode and preprocess images in the C core; return the pixels and a result per image."""
    return _core.prepare(
        data,
        cfg.size,
        cfg.resize,
        cfg.crop_pct,
        cfg.interpolation,
        tuple(cfg.mean),
        tuple(cfg.std),
        num_threads,
        mirrored,
    )


def fill(sources: list[Source], cfg: Any, num_threads: int) -> np.ndarray:
    """Return the pixels (n, 3, size, size); store decoder and reason in `sources`."""
    missing = np.zeros((1, 1, 3), np.uint8)  # sources that failed earlier also have a slot
    data = [missing if s.data is None else s.data for s in sources]
    pixels, outcomes = prepare(data, cfg, num_threads)
    again = []
    for i, (kind, reason) in enumerate(outcomes):
        if not kind or sources[i].data is None:
            continue
        if kind == "memory":
            raise MemoryError(f"{sources[i].name}: {reason}")
        sources[i] = decode_by_pillow(sources[i], kind, reason)
        if sources[i].data is not None:
            again.append(i)
    if again:
        pixels[again] = prepare([sources[i].data for i in again], cfg, num_threads)[0]
    return pixels


def mirrored_batch(sources: list[Source], cfg: Any, num_threads: int) -> np.ndarray:
    """Return the pixels of the mirror images of readable sources.

    They are preprocessed separately, because the flip of an odd crop is another crop.
    """
    pixels, outcomes = prepare([s.data for s in sources], cfg, num_threads, True)
    for source, (kind, reason) in zip(sources, outcomes, strict=True):
        if kind:  # the file changed between two reads
            raise DecodeError(f"{source.name}: {reason}")
    return pixels
