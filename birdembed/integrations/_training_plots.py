"""Plots of a training for experiment trackers and cards."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from birdembed.data.folder import ImageFolder
    from birdembed.model.model import Model

_MOST = 400  # images to embed for the plots
_QUERIES = 6
_MATCHES = 5


def sample(data: ImageFolder, most: int = _MOST) -> ImageFolder:
    """Return some images of every class, at least two of each if there are two."""
    if len(data) <= most:
        return data
    return data.select(per_class=max(most // len(data.class_names), 2))


def plots_of(model: Model, data: ImageFolder) -> dict[str, Callable[[], Figure]]:
    """Return functions that draw the plots of a training, by name.

    ``matches``: images and the most similar ones. ``similarity``: similarities within and between
    classes. ``confusion``: the confusion matrix of the classifier, if the model has one that knows
    the classes.
    """
    from birdembed.display.classes import plot_confusion
    from birdembed.display.similarity import plot_similarity
    from birdembed.search.index import Index

    some = sample(data)
    index = Index.build(model, some, show_progress_bar=False)
    drawn: dict[str, Callable[[], Figure]] = {}
    if len(index) < 2:
        return drawn
    drawn["matches"] = lambda: match_grid(index)
    drawn["similarity"] = lambda: plot_similarity(index.embeddings, list(index.labels))
    names = model.class_names
    if names and set(some.class_names) <= set(names):
        number = {name: i for i, name in enumerate(names)}
        true = [number[label] for label in index.labels]
        found = model.predict_proba(list(index.paths)).argmax(axis=1)
        counts = np.zeros((len(names), len(names)), np.int64)
        np.add.at(counts, (true, found), 1)
        drawn["confusion"] = lambda: plot_confusion(counts, names)
    return drawn


def match_grid(index: Any, queries: int = _QUERIES, title: str | None = None) -> Figure:
    """Plot images of an index, from as many classes as possible, with their best matches."""
    from birdembed.display.grid import plot_grid

    labels = np.asarray([str(label) for label in index.labels])
    _, first = np.unique(labels, return_index=True)
    chosen = first[np.linspace(0, len(first) - 1, min(queries, len(first))).round().astype(int)]
    results = [
        index.search(index.embeddings[row], _MATCHES, exclude_ids=[index.ids[row]])
        for row in chosen
    ]
    return plot_grid([index.paths[row] for row in chosen], results, title=title)


def png(figure: Figure, width: int = 1100) -> bytes:
    """Return a figure as PNG bytes, at most `width` pixels wide."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=min(width / figure.get_figwidth(), 110))
    return buffer.getvalue()


def without_matplotlib() -> bool:
    """Return whether matplotlib is not installed."""
    return importlib.util.find_spec("matplotlib") is None
