"""Decide what an input is: one image or many, its name and its bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from birdembed.base.checks import check_not_masked, is_missing
from birdembed.base.files import why_impossible
from birdembed.base.text import shown
from birdembed.images import pillow
from birdembed.images.files import folder_of_images
from birdembed.images.pillow import is_pil

ON_ERROR = ("raise", "skip", "nan")
UNKNOWN = "not a JPEG, PNG, GIF or BMP"  # message of the core for an unknown format
_LONG = 300  # characters above which a string is checked before it is used as a path
_BASE64 = re.compile(r"(data:[\w/+.-]+;base64,)?[A-Za-z0-9+/_\-\s]+=*")
EXPECTED = "expected a path, bytes, PIL image or uint8 array"
_STORED = {"bytes", "path"}  # the keys of an image in a table of Hugging Face datasets


class Source(NamedTuple):
    """A checked image in a form that the C core accepts; `data` is None if it already failed."""

    name: str
    data: str | bytes | np.ndarray | None
    decoder: str
    reason: str = ""


def is_image(value: Any) -> bool:
    """Return whether a value is one image: path, bytes, PIL image or uint8 array (grey, RGB)."""
    if isinstance(value, np.ndarray):
        return value.dtype == np.uint8 and value.ndim in (2, 3)
    if isinstance(value, (str, os.PathLike, bytes, bytearray, memoryview)):
        return True
    return is_pil(value) or _is_stored(value)


def is_folder(value: Any) -> bool:
    """Return whether a value is the path of a folder."""
    return isinstance(value, (str, os.PathLike)) and os.path.isdir(value)


def _is_stored(value: Any) -> bool:
    """Return whether a value is an image of Hugging Face datasets: a dict of bytes and path."""
    return isinstance(value, dict) and value.keys() == _STORED


def unpacked(image: Any) -> Any:
    """Return the bytes or the path of an image with both; return any other image unchanged."""
    if not _is_stored(image):
        return image
    return image["path"] if image["bytes"] is None else image["bytes"]


def name_of(image: Any, position: int) -> Any:
    """Return the path of an image as a string, or its position."""
    image = unpacked(image)
    if isinstance(image, (str, os.PathLike)):
        return os.fspath(image)
    return position


def is_single(images: Any) -> bool:
    """Return whether the input is one image.

    Parameters
    ----------
    images
        One image: path of a file, bytes, PIL image, uint8 array (H, W) or (H, W, 1 | 3 | 4), grey
        or RGB(A), or a dict of ``bytes`` and ``path`` as in Hugging Face datasets. Many images:
        the path of a folder, an array (N, H, W, C), an object array, or any other iterable.
    """
    if isinstance(images, np.ndarray):  # other dtypes count too; they are rejected later
        return images.dtype != object and images.dtype.kind not in "US" and images.ndim in (2, 3)
    return is_image(images) and not is_folder(images)


def as_many(images: Any) -> Iterable[Any]:
    """Return an iterable of images; for a folder, the paths of the images below it.

    Raises
    ------
    TypeError, ValueError
        `images` is not an iterable of images.
    OSError
        A part of the folder cannot be read.
    """
    if is_folder(images):
        return folder_of_images(images).whole().paths
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
            raise TypeError(f"images is an array without dimensions: {EXPECTED}, or many of them")
        return images
    if isinstance(images, dict) or hasattr(images, "columns") or hasattr(images, "column_names"):
        raise TypeError(
            f"images is a {type(images).__name__}; pass one of its columns, such as df['image']"
        )
    if hasattr(images, "to_pylist"):  # a column of pyarrow
        return images.to_pylist()
    if hasattr(images, "read"):
        raise TypeError("images is an open file; pass its path, or its content (.read())")
    if not isinstance(images, Iterable):
        raise TypeError(f"images is of type {type(images).__name__}: {EXPECTED}, or many of them")
    return images


def only_column(name: str, table: Any) -> Any:
    """Return the only column of a table or of an array of objects or texts, else the input.

    Raises
    ------
    ValueError
        There are several columns.
    """
    if getattr(table, "ndim", None) != 2:
        return table
    if not hasattr(table, "columns") and table.dtype.kind not in "OUST":  # T: StringDType
        return table
    if table.shape[1] != 1:
        raise ValueError(
            f"{name} must have one column with the images, got {table.shape[1]} columns"
        )
    return table.iloc[:, 0] if hasattr(table, "iloc") else table[:, 0]


@dataclass(frozen=True, eq=False)
class Inputs:
    """The argument `images`, resolved to one image or many.

    Attributes
    ----------
    single : bool
        Whether the argument was one image, not an iterable.
    items : iterable
        The images; a list for a single image.
    """

    single: bool
    items: Iterable[Any]

    @classmethod
    def of(cls, images: Any) -> Inputs:
        """Resolve the argument `images`; `Inputs` are returned unchanged.

        Raises
        ------
        TypeError, ValueError
            `images` is neither an image nor an iterable. Items are not checked.
        """
        if isinstance(images, Inputs):
            return images
        single = is_single(images)
        return cls(single, [images] if single else as_many(images))

    @property
    def length(self) -> int | None:
        """Return the number of images, or None if it is unknown (a generator)."""
        try:
            return len(self.items)  # type: ignore[arg-type]
        except TypeError:
            return None

    def listed(self) -> Inputs:
        """Return the same inputs as a list; this consumes a generator."""
        return self if isinstance(self.items, list) else Inputs(self.single, list(self.items))

    @property
    def names(self) -> list[Any]:
        """Return the path of each image as a string, or its position; for listed inputs."""
        return [name_of(item, position) for position, item in enumerate(self.items)]


def _array_source(array: np.ndarray, name: str, position: int) -> Source:
    if array.dtype != np.uint8:
        raise TypeError(
            f"image {position} is an array of dtype {array.dtype}, expected uint8 (0 to 255)"
        )
    check_not_masked(f"image {position}", array)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.size == 0:
        raise ValueError(
            f"image {position} is an array of shape {array.shape}, expected (height, width) "
            "or (height, width, 1 | 3 | 4)"
        )
    return Source(name, np.ascontiguousarray(array), "array")


def source_of(item: Any, position: int) -> Source:
    """Check one image; raise a TypeError or ValueError with its position if it is not an image."""
    name = f"image {position}"
    item = unpacked(item)
    if isinstance(item, (str, os.PathLike)):
        path = os.fspath(item)
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        return _path_source(path)
    if isinstance(item, (bytes, bytearray, memoryview)):
        return Source(name, bytes(item), "stb")
    if isinstance(item, np.ndarray):
        return _array_source(item, name, position)
    if is_pil(item):
        return _pil_source(item, name)
    raise TypeError(f"image {position} is of type {type(item).__name__}: {EXPECTED}")


def source_or_failure(item: Any, position: int) -> Source:
    """Check one image like `source_of`, but treat a missing value as an unreadable image."""
    if is_missing(unpacked(item)):
        return Source(f"image {position}", None, "stb", f"missing value ({item})")
    return source_of(item, position)


def _path_source(path: str) -> Source:
    """Return the source of a path; an impossible path is marked as failed."""
    wrong = why_impossible(path)
    if wrong:
        return Source(shown(path), None, "stb", wrong)
    if not path:
        return Source("''", None, "stb", "an empty string is not a path")
    if len(path) > _LONG and not os.path.exists(path):
        reason = f"not a path, but a string of {len(path)} characters"
        if _BASE64.fullmatch(path[:_LONG]):
            reason += " that looks like base64; decode it first (base64.b64decode) and pass bytes"
        return Source(shown(path), None, "stb", reason)
    return Source(path, path, "stb")


def _pil_source(image: Any, name: str) -> Source:
    name = str(getattr(image, "filename", "") or name)
    data = pillow.original_bytes(image)
    if data is not None:
        return Source(name, data, "stb")
    try:
        return Source(name, pillow.to_rgb(image), "pillow")
    except MemoryError as error:  # the image may be good
        raise MemoryError(f"{name}: not enough memory to decode it") from error
    except Exception as error:
        return Source(name, None, "pillow", f"Pillow: {text_of(error)}")


def text_of(error: BaseException) -> str:
    """Return an error message of Pillow, without the buffer address that one of them contains."""
    if type(error).__name__ == "UnidentifiedImageError":
        return "cannot identify the format"
    return str(error) or type(error).__name__
