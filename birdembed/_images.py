"""What counts as an image, and images to batches of network input."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from birdembed import _core, _pillow
from birdembed._core import DecodeError
from birdembed._option_checks import check_choice, check_integer

ON_ERROR = ("raise", "skip", "nan")
EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .bmp .dib .gif .webp .tif .tiff .heic .heif .avif .jp2 "
    ".ppm .pgm .pbm .pnm .tga .mpo".split()
)
UNKNOWN = "not a JPEG, PNG, GIF or BMP"  # the core's words for a format it does not know
EXPECTED = "expected a path, bytes, PIL image or uint8 array"


class Failure(NamedTuple):
    """An image that could not be read.

    Attributes
    ----------
    position : int
        Where it stands in the input, from 0.
    name : str
        Its path, or what stands for one.
    reason : str
        What is wrong with it.
    """

    position: int
    name: str
    reason: str


class Batch(NamedTuple):
    """Images ready for the network, those of them that could be read.

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


class _Source(NamedTuple):
    """One image, checked, in a form that the C core takes; `data` None if it failed already."""

    name: str
    data: str | bytes | np.ndarray | None
    decoder: str
    reason: str = ""


def is_single(images: Any) -> bool:
    """Tell one image from many.

    Parameters
    ----------
    images
        One: str, Path, bytes, PIL image, uint8 array (H, W) or (H, W, 1 | 3 | 4). Many: any
        other iterable, arrays (N, H, W, C) and object arrays among them.
    """
    if isinstance(images, (str, os.PathLike, bytes, bytearray, memoryview)):
        return True
    if isinstance(images, np.ndarray):
        return images.dtype != object and images.dtype.kind not in "US" and images.ndim in (2, 3)
    return _pillow.is_pil(images)


def length(images: Any) -> int | None:
    """Return how many images there are, None where only iterating tells (a generator)."""
    if is_single(images):
        return 1
    images = _as_many(images)
    try:
        return len(images)
    except TypeError:
        return None


def _as_many(images: Any) -> Iterable[Any]:
    """Return the iterable behind `images`, or raise TypeError."""
    paths = getattr(images, "paths", None)  # an ImageFolder
    if paths is not None and not callable(paths):
        return paths
    if isinstance(images, np.ndarray):
        if images.dtype != object and images.dtype.kind not in "US" and images.ndim != 4:
            raise ValueError(
                f"images has shape {images.shape}, expected (height, width), "
                "(height, width, 1 | 3 | 4) or (n, height, width, channels)"
            )
        if images.ndim == 0:
            raise TypeError(f"images is an array of no dimension: {EXPECTED}, or many of them")
        return images
    if isinstance(images, dict) or hasattr(images, "columns"):
        raise TypeError(
            f"images is a {type(images).__name__}: pass one of its columns, such as df['image']"
        )
    if hasattr(images, "read"):
        raise TypeError("images is an open file: pass its path, or its contents (.read())")
    if not isinstance(images, Iterable):
        raise TypeError(f"images is of type {type(images).__name__}: {EXPECTED}, or many of them")
    return images


def _array_source(array: np.ndarray, name: str, position: int) -> _Source:
    if array.dtype != np.uint8:
        raise TypeError(
            f"image {position} is an array of dtype {array.dtype}, expected uint8 (0 to 255)"
        )
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.size == 0:
        raise ValueError(
            f"image {position} is an array of shape {array.shape}, expected (height, width) "
            "or (height, width, 1 | 3 | 4)"
        )
    return _Source(name, np.ascontiguousarray(array), "array")


def _source(item: Any, position: int) -> _Source:
    """Check one image; TypeError or ValueError naming its position where it is none."""
    name = f"image {position}"
    if isinstance(item, (str, os.PathLike)):
        path = os.fspath(item)
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if "\0" in path:
            return _Source(repr(path), None, "stb", "a path cannot hold a NUL character")
        return _Source(path, path, "stb")
    if isinstance(item, (bytes, bytearray, memoryview)):
        return _Source(name, bytes(item), "stb")
    if isinstance(item, np.ndarray):
        return _array_source(item, name, position)
    if _pillow.is_pil(item):
        return _pil_source(item, name)
    raise TypeError(f"image {position} is of type {type(item).__name__}: {EXPECTED}")


def _pil_source(image: Any, name: str) -> _Source:
    name = str(getattr(image, "filename", "") or name)
    data = _pillow.original_bytes(image)
    if data is not None:
        return _Source(name, data, "stb")
    try:
        return _Source(name, _pillow.to_rgb(image), "pillow")
    except Exception as error:
        return _Source(name, None, "pillow", f"Pillow: {_text(error)}")


def _text(error: BaseException) -> str:
    """Return what Pillow said, without the address of a buffer that one of its errors names."""
    if type(error).__name__ == "UnidentifiedImageError":
        return "cannot identify the format"
    return str(error) or type(error).__name__


def _by_pillow(source: _Source, kind: str, reason: str) -> _Source:
    """Try what the C core refused with Pillow; `data` None and a reason where that fails too."""
    if kind not in ("format", "unsupported") or isinstance(source.data, np.ndarray):
        return source._replace(data=None, reason=reason)
    if not _pillow.installed():
        reason += " (Pillow might read it: pip install 'birdembed[pillow]')"
        return source._replace(data=None, reason=reason)
    try:
        pixels = _pillow.decode(source.data)  # type: ignore[arg-type]
    except Exception as error:
        return source._replace(data=None, reason=f"{reason} (Pillow: {_text(error)})")
    # The reason stays: it tells `verify` why the C core refused.
    return source._replace(data=np.ascontiguousarray(pixels), decoder="pillow", reason=reason)


def _prepare(
    data: Sequence[Any], cfg: Any, num_threads: int, mirrored: bool = False
) -> tuple[np.ndarray, list[Any]]:
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


def _fill(sources: list[_Source], cfg: Any, num_threads: int) -> np.ndarray:
    """Prepare all sources, (n, 3, size, size); puts decoder and reason into `sources`."""
    missing = np.zeros((1, 1, 3), np.uint8)  # what failed before has a slot all the same
    data = [missing if s.data is None else s.data for s in sources]
    pixels, outcomes = _prepare(data, cfg, num_threads)
    again = []
    for i, (kind, reason) in enumerate(outcomes):
        if not kind or sources[i].data is None:
            continue
        if kind == "memory":
            raise MemoryError(f"{sources[i].name}: {reason}")
        sources[i] = _by_pillow(sources[i], kind, reason)
        if sources[i].data is not None:
            again.append(i)
    if again:
        pixels[again] = _prepare([sources[i].data for i in again], cfg, num_threads)[0]
    return pixels


def _mirrored(sources: list[_Source], cfg: Any, num_threads: int) -> np.ndarray:
    """Prepare the mirror images of readable sources: an odd crop's flip is another crop."""
    pixels, outcomes = _prepare([s.data for s in sources], cfg, num_threads, True)
    for source, (kind, reason) in zip(sources, outcomes, strict=True):
        if kind:  # the file changed between two reads
            raise DecodeError(f"{source.name}: {reason}")
    return pixels


def _batch(sources: list[_Source], first: int, cfg: Any, num_threads: int) -> Batch:
    pixels = _fill(sources, cfg, num_threads)
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
        _mirrored([sources[i] for i in good], cfg, num_threads) if cfg.mirror else None,
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
        One image or many, see `is_single`.
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
        Whatever `on_error`: something that is no image, named by position.
    """
    check_choice("on_error", on_error, ON_ERROR)
    batch_size = check_integer("batch_size", batch_size, 1)
    many = [images] if is_single(images) else _as_many(images)
    return _batches(many, preprocess, batch_size, num_threads or 0, on_error)


def _batches(
    many: Iterable[Any], cfg: Any, batch_size: int, num_threads: int, on_error: str
) -> Iterator[Batch]:
    items = iter(many)
    first = 0
    while chunk := list(itertools.islice(items, batch_size)):
        sources = [_source(item, first + i) for i, item in enumerate(chunk)]
        _read_ahead(many, first + len(chunk), batch_size)
        batch = _batch(sources, first, cfg, num_threads)
        if batch.failures and on_error == "raise":
            raise DecodeError(f"{batch.failures[0].name}: {batch.failures[0].reason}")
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


def checked_sources(
    images: Any, cfg: Any, batch_size: int, num_threads: int
) -> Iterator[list[tuple[int, _Source]]]:
    """Yield `batches`' sources with their decoder and reason instead of pixels."""
    items = iter([images] if is_single(images) else _as_many(images))
    first = 0
    while chunk := list(itertools.islice(items, batch_size)):
        sources = [_source(item, first + i) for i, item in enumerate(chunk)]
        _fill(sources, cfg, num_threads)
        yield [(first + i, source) for i, source in enumerate(sources)]
        first += len(chunk)


def decode(image: Any) -> tuple[np.ndarray, str]:
    """Decode one image -> ((h, w, 3) uint8, decoder); errors as `batches` raises them."""
    if not is_single(image):
        _as_many(image)  # the better error, where there is one
        raise TypeError(f"image is of type {type(image).__name__}: {EXPECTED}")
    source = _source(image, 0)
    if source.data is not None:
        try:
            return _core.decode(source.data), source.decoder
        except (DecodeError, OSError) as error:
            kind = "format" if isinstance(error, DecodeError) else "io"
            source = _by_pillow(source, kind, str(error))
            if source.data is not None:
                return np.array(source.data), source.decoder
    raise DecodeError(f"{source.name}: {source.reason}")


def list_files(folder: str | os.PathLike[str]) -> list[str]:
    """Return the picture files below a folder, sorted; hidden files and folders left out."""
    found = []
    for path, folders, files in os.walk(os.fspath(folder)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:
                found.append(os.path.join(path, name))
    return found
