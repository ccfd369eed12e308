"""Pictures of results, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from birdembed._extras import need

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLE = 26  # characters of a name that stands beside an axis


def figure_class() -> Any:
    """Return the class of our figures; an error that says what to install without matplotlib."""
    need("matplotlib.figure", "plot", "a picture")
    from birdembed._figure import Figure

    return Figure


def new_figure(width: float, height: float, *, photographs: bool = False) -> Figure:
    """Return an empty figure of so many inches."""
    figure: Figure = figure_class()(
        figsize=(width, height), layout="constrained", photographs=photographs
    )
    return figure


def plot_confusion(
    confusion: NDArray[np.int64], class_names: Sequence[str], *, title: str | None = None
) -> Figure:
    """Draw a confusion matrix: true classes down, predicted ones across.

    Parameters
    ----------
    confusion : ndarray
        `(classes, classes)` counts.
    class_names : sequence of str
        One name a class.
    title : str, optional
        Heading.

    Returns
    -------
    matplotlib.figure.Figure
    """
    n = len(class_names)
    side = max(4.0, 0.22 * n + 2)
    figure = new_figure(side, side)
    axes = figure.subplots()
    counts = np.asarray(confusion, np.float64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(n), [_shorten(name) for name in class_names], rotation=90, fontsize=7)
    axes.set_yticks(range(n), [_shorten(name) for name in class_names], fontsize=7)
    axes.set_xlabel("found")
    axes.set_ylabel("true")
    if n <= 20:
        for i in range(n):
            for j in range(n):
                if counts[i, j]:
                    color = "white" if share[i, j] > 0.5 else "black"
                    axes.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", color=color)
    if title:
        axes.set_title(title)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true class")
    return figure


def _shorten(text: str) -> str:
    # matplotlib reads $...$ as mathematics.
    text = text.replace("$", r"\$")
    return text if len(text) <= _TITLE else text[: _TITLE - 1] + "…"
