"""Plot results per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import check_not_masked
from birdembed.display.figure import new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_NAMES = 100  # maximum number of classes with names next to a confusion matrix


def plot_confusion(
    confusion: NDArray[np.int64], class_names: Sequence[str], *, title: str | None = None
) -> Figure:
    """Plot a confusion matrix: true classes as rows, predicted classes as columns.

    Parameters
    ----------
    confusion : ndarray
        `(classes, classes)` counts.
    class_names : sequence of str
        One name per class.
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
    """
    check_not_masked("confusion", confusion)
    n = len(class_names)
    side = max(4.0, 0.22 * min(n, _MOST_NAMES) + 2)
    figure = new_figure(side, side)
    axes = figure.subplots()
    counts = np.asarray(confusion, np.float64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if n <= _MOST_NAMES:
        names = [shorten(name) for name in class_names]
        axes.set_xticks(range(n), names, rotation=90, fontsize=7)
        axes.set_yticks(range(n), names, fontsize=7)
    axes.set_xlabel("found")
    axes.set_ylabel("true")
    if n <= 20:
        for i in range(n):
            for j in range(n):
                if counts[i, j]:
                    color = "white" if share[i, j] > 0.5 else "black"
                    axes.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", color=color)
    if title:
        figure.suptitle(title)  # above the colour bar too, which the axes do not include
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true class")
    return figure


def plot_per_class(
    per_class: Any, *, key: str = "precision_at_1", title: str | None = None
) -> Figure:
    """Plot one score of every class as bars, the worst class first.

    Parameters
    ----------
    per_class : Evaluation or dict
        `Evaluation.per_class`, or the evaluation itself.
    key : str
        "precision_at_1", "map_at_r" or "accuracy".
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        No class has that score.
    """
    table = getattr(per_class, "per_class", per_class)
    rows = [(name, row[key]) for name, row in table.items() if row.get(key) is not None]
    if not rows:
        raise ValueError(f"no class has the score {key!r}")
    rows.sort(key=lambda row: (row[1], row[0]))
    figure = new_figure(7, max(2.5, 0.18 * len(rows) + 1))
    axes = figure.subplots()
    values = [value for _, value in rows]
    axes.barh(range(len(rows)), values, color="tab:blue")
    axes.set_yticks(range(len(rows)), [shorten(name) for name, _ in rows], fontsize=7)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    mean = float(np.mean(values))
    axes.axvline(mean, color="black", linestyle=":")
    axes.set_xlim(0, 1.02)
    # Not in a legend, which would cover bars.
    axes.set_xlabel(f"{key} (dotted: mean of the classes, {mean:.3f})")
    if title:
        axes.set_title(title)
    return figure
