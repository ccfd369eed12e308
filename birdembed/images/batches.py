"""Read, decode and preprocess images in batches."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from birdembed import _core
from birdembed._core import DecodeError
from birdembed.base.checks import check_choice, check_integer
from birdembed.images.preprocess import Preprocess, fill, mirrored_batch
from birdembed.images.report import Failure, described
from birdembed.images.sources import ON_ERROR, Inputs, Source, source_of, source_or_failure


class Batch(NamedTuple):
    """A batch of preprocessed images, without those that could not be read.

    Attributes
    ----------
    pixels : (m, 3, size, size) float32
    positions : (m,) int64, where each stands in the input
    names : m strings: the path as given, else ``"image 3"`` by position
    decoders : m of ``"stb"``, ``"pillow"``, ``"array"``
    failures : those that could not be read
    mirrored : the mirror images, prepared alike, where the preprocessing says `mirror`
    """

    pixels: np.ndarray
    positions: np.ndarray
    names: list[str]
    decoders: list[str]
    failures: list[Failure]
    mirrored: np.ndarray | None = None


def _batch(sources: list[Source], first: int, cfg: Any, num_threads: int) -> Batch:
    pixels = fill(sources, cfg, num_threads)
    good = [i for i, s in enumerate(sources) if s.data is not None]
    failures = [
        Failure(first + i, s.name, s.reason) for i, s in enumerate(sources) if s.data is None
    ]
    if failures:
        pixels = np.ascontiguousarray(pixels[good])
    return Batch(
        pixels,
        np.asarray(good, np.int64) + first,
        [sources[i].name for i in good],
        [sources[i].decoder for i in good],
        failures,
        mirrored_batch([sources[i] for i in good], cfg, num_threads) if cfg.mirror else None,
    )


def batches(
    images: Any,
    preprocess: Any,
    batch_size: int,
    *,
    num_threads: int | None = None,
    on_error: str = "raise",
) -> Iterator[Batch]:
    """Read, decode and preprocess images, `batch_size` at a time, on several threads.

    Parameters
    ----------
    images
        One image or many, or `Inputs` that tell which.
    preprocess : Preprocess
    batch_size : int
        Most images of a batch; the last one may be smaller.
    num_threads : int, optional
        Threads for this call; default `set_num_threads`, see there.
    on_error : {"raise", "skip", "nan"}
        ``"raise"``: the first image that cannot be read ends the iteration; otherwise it is
        listed in `Batch.failures` and left out of the rest.

    Raises
    ------
    DecodeError
        With ``on_error="raise"``: a missing, damaged or unknown file, named in the message.
    TypeError, ValueError
        Whatever `on_error`: something that is no image, named by position. A missing value
        (None, NaN, pandas.NA) is, unless ``on_error="raise"``, an image that cannot be read.
    """
    check_choice("on_error", on_error, ON_ERROR)
    batch_size = check_integer("batch_size", batch_size, 1)
    return _batches(Inputs.of(images).items, preprocess, batch_size, num_threads or 0, on_error)


def _batches(
    many: Iterable[Any], cfg: Any, batch_size: int, num_threads: int, on_error: str
) -> Iterator[Batch]:
    items = iter(many)
    first = 0
    while chunk := list(itertools.islice(items, batch_size)):
        check = source_of if on_error == "raise" else source_or_failure
        sources = [check(item, first + i) for i, item in enumerate(chunk)]
        _read_ahead(many, first + len(chunk), batch_size)
        batch = _batch(sources, first, cfg, num_threads)
        if batch.failures and on_error == "raise":
            raise DecodeError(described(batch.failures[0]))
        yield batch
        first += len(chunk)


def _read_ahead(many: Iterable[Any], first: int, n: int) -> None:
    """Have the system fetch the next batch's files while this one is worked on.

    Worth 0.3 ms a file where it was not cached (measured), costs 0.02 where it was. Only of
    what can be looked at without taking it out of a generator.
    """
    if isinstance(many, (list, tuple)):
        upcoming = many[first : first + n]
        _core.will_need(os.fspath(x) for x in upcoming if isinstance(x, (str, os.PathLike)))


def preprocess(images: Any, cfg: Preprocess | None = None) -> np.ndarray:
    """Decode and preprocess images to network input.

    Parameters
    ----------
    images : one image or many, as `Model.encode` takes them
        Arrays are grey or RGB(A); OpenCV's are BGR: give ``image[..., ::-1]``.
    cfg : Preprocess, optional
        ``Preprocess()`` by default.

    Returns
    -------
    (n, 3, size, size) float32
        Red, green, blue; n is 1 for one image, 0 for an empty list.

    Raises
    ------
    DecodeError
        An image could not be read; the message names it.
    TypeError, ValueError
        Something is no image, or `cfg` is no `Preprocess`.
    """
    cfg = Preprocess() if cfg is None else cfg
    if not isinstance(cfg, Preprocess):
        raise TypeError(f"cfg must be a Preprocess, got {type(cfg).__name__}")
    cfg = replace(cfg, mirror=False)  # the mirror images would be prepared for nothing
    parts = [batch.pixels for batch in batches(images, cfg, 64)]
    if not parts:
        return np.empty((0, 3, cfg.size, cfg.size), np.float32)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
