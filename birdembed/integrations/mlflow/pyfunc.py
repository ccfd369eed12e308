"""Serve a model as an MLflow pyfunc."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import check_choice, check_integer, is_missing
from birdembed.base.text import shown
from birdembed.images.verify import verify
from birdembed.integrations.mlflow.inputs import images_of
from birdembed.model.load import load_model
from birdembed.search.exports import storable_text

if TYPE_CHECKING:
    from pandas import DataFrame

    from birdembed.model.model import Model

TASKS = ("embed", "predict", "identify")
ON_ERROR = ("raise", "nan")
#: Parameters of a prediction, with their defaults.
DEFAULTS: dict[str, Any] = {"task": "embed", "k": 5, "on_error": "raise"}


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
        skip = options["on_error"] == "nan"
        images, index = images_of(data, skip)
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
    """Return all params of a prediction, checked."""
    if not isinstance(params, (Mapping, type(None))):
        raise TypeError(f"params must be a dict, got {shown(params)}")
    unknown = [name for name in params or {} if name not in DEFAULTS]
    if unknown:
        raise ValueError(f"params has {shown(unknown[0])}; the params are {', '.join(DEFAULTS)}")
    options = {**DEFAULTS, **(params or {})}
    for name, choices in (("task", TASKS), ("on_error", ON_ERROR)):
        check_choice(f"params[{name!r}]", options[name], choices)
    options["k"] = check_integer("params['k']", options["k"], 1)
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
    kind = None if storable_text(row[columns[0]] for row in rows) else object
    return pandas.DataFrame(whole, columns=columns, index=index, dtype=kind)
