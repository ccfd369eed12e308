"""Serve a model as an MLflow pyfunc."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import check_choice, is_missing
from birdembed.images.verify import verify
from birdembed.model.load import load_model

if TYPE_CHECKING:
    from pandas import DataFrame

    from birdembed.model.model import Model

TASKS = ("embed", "predict", "identify")
ON_ERROR = ("raise", "nan")
#: Parameters of a prediction, with their defaults.
DEFAULTS: dict[str, Any] = {"task": "embed", "k": 5, "on_error": "raise"}
_COLUMN = "image"
#: First bytes of JPEG, PNG, GIF, BMP, WebP and TIFF files.
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")


class Scorer:
    """A model with the ``predict`` interface of MLflow.

    Parameters
    ----------
    model : Model
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def get_raw_model(self) -> Model:
        """Return the model itself; called by ``get_raw_model`` of MLflow."""
        return self.model

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Embed, classify or identify images.

        Parameters
        ----------
        data
            A DataFrame with a column ``image`` (or a single column) of bytes, paths or uint8
            arrays; a uint8 array ``(h, w)``, ``(h, w, c)`` or ``(n, h, w, c)``, grey or RGB(A)
            (OpenCV uses BGR; convert with ``image[..., ::-1]``); a list or Series; a single path;
            or the bytes of a single image. In JSON, an image is the base64 text of its file.
        params : mapping, optional
            ``task``: "embed" (default), "predict" or "identify". ``k``: number of matches.
            ``on_error``: "raise" (default), or "nan" to return NaN for an unreadable image.

        Returns
        -------
        ndarray or DataFrame
            ``(n, dim)`` float32 for "embed"; for the other tasks a DataFrame with one row per
            image: ``label``, ``score`` and ``matches``, or ``species``, ``score``, ``known`` and
            ``matches``. ``matches`` is a list of {label, score}, best first.
        """
        options = _checked(params)
        images, index = images_of(data)
        skip = options["on_error"] == "nan"
        good = np.arange(len(images))
        if skip and not isinstance(images, np.ndarray):
            good = np.asarray([i for i in good if not is_missing(images[i])], np.int64)
        if options["task"] == "embed":
            vectors = np.full((len(images), self.model.embedding_dim), np.nan, np.float32)
            if len(good):
                vectors[good] = self.model.encode(
                    _at(images, good), on_error=options["on_error"], show_progress_bar=False
                )
            return vectors
        if skip and len(good):
            report = verify(_at(images, good), show_progress_bar=False)
            good = np.delete(good, [failure.position for failure in report.failures])
        rows = self._rows(_at(images, good), options) if len(good) else []
        return _table(rows, good, len(images), index, options["task"])

    def _rows(self, images: Any, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        k = options["k"]
        if options["task"] == "predict":
            return [
                {"label": top[0][0], "score": top[0][1], "matches": _matches(top)}
                for top in self.model.predict(images, k)
            ]
        return [
            {
                "species": found.species,
                "score": found.score,
                "known": bool(found.known),
                "matches": _matches(found.matches),
            }
            for found in self.model.identify(images, k, show_progress_bar=False)
        ]


def load_scorer(path: str) -> Scorer:
    """Load the model in a folder and return the scorer for `mlflow.pyfunc.load_model`."""
    return Scorer(load_model(path))


def _checked(params: Mapping[str, Any] | None) -> dict[str, Any]:
    unknown = sorted(set(params or {}) - set(DEFAULTS))
    if unknown:
        raise ValueError(f"params has {unknown[0]!r}; the params are {', '.join(DEFAULTS)}")
    options = {**DEFAULTS, **(params or {})}
    for name, choices in (("task", TASKS), ("on_error", ON_ERROR)):
        check_choice(f"params[{name!r}]", options[name], choices)
    options["k"] = int(options["k"])
    return options


def _at(images: Any, places: NDArray[np.int64]) -> Any:
    return images if len(places) == len(images) else [images[i] for i in places]


def _matches(pairs: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"label": label, "score": float(score)} for label, score in pairs]


def _table(
    rows: list[dict[str, Any]], good: NDArray[np.int64], n: int, index: Any, task: str
) -> DataFrame:
    import pandas

    columns = ["label", "score", "matches"]
    if task == "identify":
        columns = ["species", "score", "known", "matches"]
    whole: list[dict[str, Any]] = [{} for _ in range(n)]
    for place, row in zip(good.tolist(), rows, strict=True):
        whole[place] = row
    return pandas.DataFrame(whole, columns=columns, index=index)


def images_of(data: Any) -> tuple[Any, Any]:
    """Return a list or array of images for `Model.encode`, and the index of a DataFrame.

    Raises
    ------
    TypeError, ValueError
        A table has no column of images, or an array does not contain pixels.
    """
    if hasattr(data, "columns"):
        names = list(data.columns)
        if _COLUMN not in names and len(names) != 1:
            raise ValueError(f"the table needs a column {_COLUMN!r}, it has {names}")
        column = data[_COLUMN if _COLUMN in names else names[0]]
        return [_cell(value, i) for i, value in enumerate(column)], data.index
    if isinstance(data, Mapping):
        if _COLUMN not in data:
            raise ValueError(f"the input needs a key {_COLUMN!r}, it has {list(data)}")
        return images_of(data[_COLUMN])
    if isinstance(data, np.ndarray) and data.dtype.kind in "uif":
        pixels = _pixels(data, "the input")
        return (pixels if pixels.ndim == 4 else pixels[None]), None
    from birdembed.images.sources import is_single

    if is_single(data):
        return [_cell(data, 0)], None
    index = data.index if hasattr(data, "iloc") else None  # of a Series
    return [_cell(value, i) for i, value in enumerate(data)], index


def _cell(value: Any, position: int) -> Any:
    if isinstance(value, str):
        return _from_base64(value)
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


def _from_base64(text: str) -> str | bytes:
    """Return the bytes of an image if the text is base64, else the text, which is a path."""
    head, comma, rest = text.partition(",")
    if head.startswith("data:") and head.endswith(";base64") and comma:
        return base64.b64decode(rest)
    if len(text) < 64 or os.path.exists(text):
        return text
    try:
        data = base64.b64decode("".join(text.split()), validate=True)  # MLflow breaks lines
    except (binascii.Error, ValueError):
        return text
    return data if data.startswith(_MAGIC) else text
