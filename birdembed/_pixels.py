"""Decoding and preprocessing for people: `decode_image`, `preprocess`, `Preprocess`, `verify`."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from birdembed import _images
from birdembed._images import Failure
from birdembed._option_checks import check_boolean, check_choice, check_integer

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes network input.

    Parameters
    ----------
    size : int
        Side of the square that the network sees.
    resize : {"squash", "shortest"}
        ``"squash"``: both sides become ``floor(size / crop_pct)``. ``"shortest"``: the short
        side becomes that, the long side ``int(short * long / short_before)``. Then the
        centre of size x size is cut out, at ``int(round(d / 2))``, half to even.
    crop_pct : float
        Above 0, at most 1.
    interpolation : {"bilinear", "bicubic"}
        Antialiased, bit for bit as Pillow's.
    mean, std : 3 floats each
        In units of 0 to 1, red, green, blue; ImageNet's by default.
    mirror : bool
        The vector is the mean of the image's and its mirror image's. That is the model's
        work: `preprocess` gives the image as it is.
    """

    size: int = 224
    resize: Literal["squash", "shortest"] = "squash"
    crop_pct: float = 1.0
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    mirror: bool = False

    def __post_init__(self) -> None:
        """Check every field; numbers and sequences are brought to plain Python types."""
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
        # The core holds the limits; preparing nothing makes it look at them.
        _images._prepare([], self, 1)


def _float(name: str, value: Any) -> float:
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except TypeError:
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return number


def _three(name: str, values: Any) -> tuple[float, float, float]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be three numbers, got {values!r}")
    numbers = tuple(_float(name, value) for value in values)
    if len(numbers) != 3:
        raise ValueError(f"{name} must be three numbers, got {len(numbers)}")
    return numbers


def decode_image(src: Any) -> np.ndarray:
    """Decode one picture.

    Parameters
    ----------
    src : str, Path, bytes, PIL image, or uint8 array (H, W) or (H, W, 1 | 3 | 4)

    Returns
    -------
    (h, w, 3) uint8 RGB
        Upright (EXIF orientation applied), transparency composited on white, 16-bit samples
        cut to their high byte, the first frame of an animation.

    Raises
    ------
    DecodeError
        A missing, damaged or unknown file; the message names it.
    TypeError, ValueError
        `src` is no picture.

    Notes
    -----
    A PIL image that was opened from a file and not changed since is decoded from that file
    again, so that it equals the path to the bit. One that was changed, cut, converted or made
    in memory is taken as it is (``decoder "pillow"``), its EXIF orientation applied.
    """
    return _images.decode(src)[0]


def preprocess(images: Any, cfg: Preprocess | None = None) -> np.ndarray:
    """Turn pictures into network input.

    Parameters
    ----------
    images : one picture or many, as `Model.encode` takes them
    cfg : Preprocess, optional
        ``Preprocess()`` by default.

    Returns
    -------
    (n, 3, size, size) float32
        n is 1 for one picture, 0 for an empty list.

    Raises
    ------
    DecodeError
        A picture could not be read; the message names it.
    TypeError, ValueError
        Something is no picture, or `cfg` is no `Preprocess`.
    """
    cfg = Preprocess() if cfg is None else cfg
    if not isinstance(cfg, Preprocess):
        raise TypeError(f"cfg must be a Preprocess, got {type(cfg).__name__}")
    cfg = replace(cfg, mirror=False)  # the mirror images would be prepared for nothing
    parts = [batch.pixels for batch in _images.batches(images, cfg, 64)]
    if not parts:
        return np.empty((0, 3, cfg.size, cfg.size), np.float32)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found.

    Attributes
    ----------
    checked : int
        Number of files looked at.
    failures : list of Failure
        ``(position, name, reason)`` of files that cannot be read.
    suspect : list of Failure
        JPEG, PNG, GIF or BMP files that only Pillow could read: damaged somewhere, or of a
        rare kind. They are embedded, but deserve a look.
    """

    checked: int = 0
    failures: list[Failure] = field(default_factory=list)
    suspect: list[Failure] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Tell whether all files are sound."""
        return not self.failures and not self.suspect


def verify(folder: Any, *, num_threads: int | None = None) -> VerifyReport:
    """Decode every picture below a folder, without embedding.

    Parameters
    ----------
    folder : str or Path, an ImageFolder, or a list of pictures
        Of a folder: files whose name ends like a picture's, hidden ones left out.
    num_threads : int, optional

    Returns
    -------
    VerifyReport
        ``.failures`` and ``.suspect``, names as paths.

    Raises
    ------
    NotADirectoryError, FileNotFoundError
        `folder` is no folder.
    """
    if isinstance(folder, (str, os.PathLike)):
        if not os.path.exists(folder):
            raise FileNotFoundError(f"folder does not exist: {os.fspath(folder)}")
        if not os.path.isdir(folder):
            raise NotADirectoryError(f"not a folder: {os.fspath(folder)}")
        folder = _images.list_files(folder)
    return _verify(folder, num_threads)


def _verify(images: Any, num_threads: int | None) -> VerifyReport:
    cfg = Preprocess(size=8)  # decoding is what counts; the rest as cheap as can be
    checked, failures, suspect = 0, [], []
    for sources in _images.checked_sources(images, cfg, 64, num_threads or 0):
        for position, source in sources:
            checked += 1
            finding = Failure(position, source.name, source.reason)
            if source.data is None:
                failures.append(finding)
            elif source.reason and source.reason != _images.UNKNOWN:
                suspect.append(finding)
    return VerifyReport(checked, failures, suspect)
