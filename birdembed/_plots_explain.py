"""The picture of an explained match."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from birdembed._plots import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from birdembed._explain import Explanation


def plot_explanation(
    explanation: Explanation, *, pairs: int = 4, title: str | None = None
) -> Figure:
    """Draw what `explain_match` found.

    Above the two pictures with their strongest pairs of cells, the same colour marking the two
    cells of a pair; below how much each cell brings to the similarity (both on one scale).

    Parameters
    ----------
    explanation : Explanation
        What `explain_match` returned.
    pairs : int
        How many pairs of cells to mark, none of them twice; 0 for none.
    title : str, optional
        Heading. Default: the similarity.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(7.6, 7.6)
    axes = figure.subplots(2, 2)
    figure.suptitle(title or f"similarity {explanation.score:.3f}")
    halves = (
        (explanation.image_a, explanation.map_a, "a"),
        (explanation.image_b, explanation.map_b, "b"),
    )
    bound = max(float(np.abs(half[1]).max()) for half in halves) or 1.0
    for column, (image, cells, name) in enumerate(halves):
        axes[0, column].imshow(image)
        axes[0, column].set_title(name)
        shown = axes[1, column].imshow(_grey(image), cmap="gray", vmin=0, vmax=255)
        size = image.shape[0]
        shown = axes[1, column].imshow(
            cells,
            cmap="RdBu_r",
            vmin=-bound,
            vmax=bound,
            alpha=0.6,
            extent=(-0.5, size - 0.5, size - 0.5, -0.5),
            interpolation="bilinear",
        )
    for one in axes.flat:
        one.set_axis_off()
    label = "what a cell brings; the mean is the similarity"
    figure.colorbar(shown, ax=list(axes[1]), shrink=0.85, label=label)
    _mark(axes[0, 0], axes[0, 1], explanation, pairs)
    return figure


def _mark(left: Axes, right: Axes, explanation: Explanation, pairs: int) -> None:
    """Frame the strongest pairs of cells, and join the two of a pair."""
    from matplotlib import colormaps
    from matplotlib.patches import ConnectionPatch, Rectangle

    h, w = explanation.map_a.shape
    height, width = explanation.image_a.shape[0] / h, explanation.image_a.shape[1] / w
    colors = colormaps["tab10"].colors  # type: ignore[attr-defined]
    for number, (a, b, value) in enumerate(explanation.best_pairs(pairs)):
        color = colors[number % len(colors)]
        for axes, (row, column) in ((left, a), (right, b)):
            corner = (column * width - 0.5, row * height - 0.5)
            axes.add_patch(
                Rectangle(corner, width, height, fill=False, edgecolor=color, linewidth=2.5)
            )
        ends = [((c + 0.5) * width - 0.5, (r + 0.5) * height - 0.5) for r, c in (a, b)]
        line = ConnectionPatch(
            ends[0],
            ends[1],
            "data",
            "data",
            axesA=left,
            axesB=right,
            color=color,
            linewidth=1.5,
            alpha=0.9,
            label=f"{value:.2f}",
        )
        left.figure.add_artist(line)


def _grey(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.asarray(image, np.float64) @ (0.299, 0.587, 0.114)
