"""Plot which parts of two images match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from birdembed.display.figure import figure_class
from birdembed.images.thumbnails import LARGEST, thumbnail

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# Inches.
_TILE, _GAP, _EDGE = 2.0, 0.12, 0.08
_WIDTH, _HEIGHT = 4 * (_TILE + _GAP) + 0.75, _TILE + 0.75


class _Explained(Protocol):
    """The attributes of an `Explanation` that are plotted."""

    @property
    def score(self) -> float: ...
    @property
    def map_a(self) -> NDArray[np.float64]: ...
    @property
    def map_b(self) -> NDArray[np.float64]: ...
    @property
    def image_a(self) -> NDArray[np.uint8]: ...
    @property
    def image_b(self) -> NDArray[np.uint8]: ...

    def best_pairs(self, k: int = 5) -> list[tuple[tuple[int, int], tuple[int, int], float]]:
        """Return the strongest pairs of cells and their contributions."""
        ...


def plot_explanation(
    explanation: _Explained, *, pairs: int = 4, title: str | None = None
) -> Figure:
    """Plot which parts of two images match.

    The left side shows the two images with their strongest pairs of cells; both cells of a pair
    have the same colour. The right side shows the contribution of each cell to the similarity, on
    the same scale for both images.

    Parameters
    ----------
    explanation : Explanation
        Result of `explain_match`.
    pairs : int
        Number of pairs of cells to mark; each cell is used at most once. 0 marks none.
    title : str, optional
        Title of the figure. Default: the similarity.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = figure_class()(figsize=(_WIDTH, _HEIGHT), images=True)
    axes = [figure.add_axes(_box(place)) for place in range(4)]
    figure.text(
        0.5,
        1 - 0.1 / _HEIGHT,
        title or f"similarity {explanation.score:.3f}",
        fontsize=10,
        ha="center",
        va="top",
        parse_math=False,
    )
    shown = _draw_images(axes, explanation)
    for one, name in zip(axes, ("a", "b", "contributions of a", "contributions of b"), strict=True):
        one.set_axis_off()
        one.set_title(name, fontsize=8, pad=3)
    bar = figure.add_axes(_box(4, width=0.1))
    figure.colorbar(shown, cax=bar)
    bar.tick_params(labelsize=7)
    bar.set_title("mean: the\nsimilarity", fontsize=7, pad=3)
    _mark(axes[0], axes[1], explanation, pairs)
    return figure


def _draw_images(axes: Sequence[Axes], explanation: _Explained) -> AxesImage:
    """Draw both images, and both with their contributions; return the last layer."""
    both = (explanation.map_a, explanation.map_b)
    bound = max(float(np.abs(cells).max()) for cells in both) or 1.0
    # Raw features are never negative, but projected ones can be.
    signed = min(float(cells.min()) for cells in both) < 0
    halves = ((explanation.image_a, explanation.map_a), (explanation.image_b, explanation.map_b))
    for column, (image, cells) in enumerate(halves):
        small = _small(image)
        size = len(image)
        extent = (-0.5, size - 0.5, size - 0.5, -0.5)
        axes[column].imshow(small, extent=extent)
        axes[2 + column].imshow(_grey(small), cmap="gray", vmin=0, vmax=255, extent=extent)
        shown = axes[2 + column].imshow(
            cells,
            cmap="RdBu_r" if signed else "inferno",
            vmin=-bound if signed else 0.0,
            vmax=bound,
            alpha=0.45,
            extent=extent,
            interpolation="bilinear",
        )
    return shown


def _box(place: int, width: float = _TILE) -> tuple[float, float, float, float]:
    """Return the box of the image at a place, as fractions of the figure."""
    left = _EDGE + place * (_TILE + _GAP)
    return left / _WIDTH, _EDGE / _HEIGHT, width / _WIDTH, _TILE / _HEIGHT


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    small = thumbnail(image, LARGEST)
    return image if isinstance(small, str) else small


def _mark(left: Axes, right: Axes, explanation: _Explained, pairs: int) -> None:
    """Draw frames around the strongest pairs of cells, and connect the cells of each pair."""
    from matplotlib import colormaps
    from matplotlib.patches import ConnectionPatch, Rectangle

    h, w = explanation.map_a.shape
    height, width = explanation.image_a.shape[0] / h, explanation.image_a.shape[1] / w
    every = colormaps["tab10"].colors  # type: ignore[attr-defined]
    colors = every[:2] + every[4:]  # without green and red, which mean right and wrong
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
