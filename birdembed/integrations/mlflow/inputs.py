"""Images in what MLflow passes to a model: tables, arrays, base64 text."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import is_missing
from birdembed.base.text import shown
from birdembed.images.pillow import is_pil
from birdembed.images.pillow_open import opened
from birdembed.images.sources import EXPECTED, is_single, only_column, source_of

_COLUMN = "image"
_SHORTEST = 64  # characters of the base64 text of an image; a shorter text is a path
#: First bytes of the formats that Pillow may be missing for; the others it has to recognize.
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")
_BOX = b"ftyp"  # bytes 4 to 8 of HEIF and AVIF
_URI = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)


def images_of(data: Any, skip: bool = False) -> tuple[Any, Any]:
    """Return a list or array of images for `Model.encode`, and the index of a DataFrame.

    With `skip`, a value that cannot be an image becomes None.

    Raises
    ------
    TypeError, ValueError
        A table has no column of images, an array does not contain pixels, or a data URI is not
        base64.
    """
    if hasattr(data, "columns"):
        names = list(data.columns)
        if _COLUMN not in names and len(names) != 1:
            raise ValueError(f"the table needs a column {_COLUMN!r}, it has {names}")
        column = data[_COLUMN if _COLUMN in names else names[0]]
        return _cells(column, skip), data.index
    if isinstance(data, Mapping):
        if _COLUMN not in data:
            raise ValueError(f"the input needs a key {_COLUMN!r}, it has {list(data)}")
        return images_of(data[_COLUMN], skip)
    if isinstance(data, np.ndarray) and data.dtype.kind in "uif":
        pixels = _pixels(data, "the input")
        return (pixels if pixels.ndim == 4 else pixels[None]), None
    if is_single(data):
        return _cells([data], skip), None
    index = data.index if hasattr(data, "iloc") else None  # of a Series
    if not isinstance(data, Iterable):
        raise TypeError(f"the input must hold images, got {shown(data)}: {EXPECTED}, or many")
    return _cells(only_column("the input", data), skip), index


def _cells(values: Any, skip: bool) -> list[Any]:
    return [_cell_or_none(value, i) if skip else _cell(value, i) for i, value in enumerate(values)]


def _cell_or_none(value: Any, position: int) -> Any:
    try:
        image = _cell(value, position)
        if not is_missing(image) and not is_pil(image):
            source_of(image, position)  # raises what encode would raise, for all images
        return image
    except (TypeError, ValueError):  # also of a list of rows of different lengths
        return None


def _cell(value: Any, position: int) -> Any:
    if isinstance(value, str):
        return _from_base64(value, position)
    if isinstance(value, (list, tuple)):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        return _pixels(value, f"image {position}")
    return value


def _pixels(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return pixels as uint8; JSON has only one type of integer."""
    if array.dtype == np.uint8:
        return array
    whole = array.dtype.kind in "ui" and array.ndim in (2, 3, 4) and array.size
    if not whole or array.min() < 0 or array.max() > 255:
        raise TypeError(
            f"{name} is an array of dtype {array.dtype} and shape {array.shape}, expected uint8 "
            "pixels (0 to 255)"
        )
    return array.astype(np.uint8)


def _from_base64(text: str, position: int) -> str | bytes:
    """Return the bytes of an image if the text is base64, else the text, which is a path."""
    uri = _URI.match(text)
    if uri:
        data = _decoded(unquote(text[uri.end() :]))
        if data is None:
            raise ValueError(f"image {position}: the data URI {shown(text)} is not valid base64")
        return data
    if len(text) < _SHORTEST or os.path.exists(text):
        return text
    data = _decoded(text)
    return data if data is not None and _is_file_of_image(data) else text


def _decoded(text: str) -> bytes | None:
    """Return the bytes of base64 text, also the URL-safe one and one without padding, or None."""
    text = "".join(text.split()).rstrip("=")  # MLflow breaks lines
    if "-" in text or "_" in text:
        if "+" in text or "/" in text:
            return None
        text = text.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return None


def _is_file_of_image(data: bytes) -> bool:
    if data.startswith(_MAGIC) or data[4:8] == _BOX:
        return True
    try:
        with opened(data):
            return True
    except Exception:  # any error of Pillow, or it is not installed
        return False
