"""Plot a map of embeddings in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdembed.base.vectors import as_array, unit_rows
from birdembed.display.figure import NAMED, new_figure, shorten
from birdembed.display.similarity import checked_rows
from birdembed.images.thumbnails import thumbnail

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_IMAGES = 200  # maximum number of images in the plot
_SIDE = 44  # size of an image on the screen in pixels
# Sizes as fractions of the width and height of the map: of a letter, a line, the margin, and half
# a marker.
_LETTER, _LINE = 0.0082, 0.0165
_PAD = np.asarray([0.004, 0.004])
_MARK = np.asarray([0.004, 0.005])
#: Positions to try, nearest first, on ellipses, because names are wider than high.
_STEP = np.asarray([0.03, 0.018])
_AROUND = (
    np.asarray(
        [
            [ring * np.cos(angle), ring * np.sin(angle)]
            for ring in range(16)
            for angle in np.arange(24 if ring else 1) * (np.pi / 12)
        ]
    )
    * _STEP
)


def plot_map(
    embeddings: ArrayLike,
    labels: Sequence[Any] | None = None,
    *,
    images: Sequence[Any] | None = None,
    method: str = "pca",
    title: str | None = None,
) -> Figure:
    """Plot a two-dimensional map of embeddings, in which similar ones are near each other.

    Parameters
    ----------
    embeddings : array
        `(n, dim)` floats. They are scaled to length 1 first, as for cosine similarity.
    labels : sequence, optional
        One class per row. Each class has its own colour and marker, and its name is written next
        to the middle of its points.
    images : sequence, optional
        One image per row, shown instead of a marker with a frame in the colour of its class. At
        most 200 images are shown, spread over the rows.
    method : {"pca"}
        ``"pca"``: the two directions with the largest variance.
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError
        `embeddings` is not an array.
    ValueError
        Lengths differ, there are fewer than two rows, or a row contains NaN.
    """
    if method != "pca":
        raise ValueError(f"method must be 'pca', got {method!r}")
    if as_array(embeddings, "embeddings").ndim == 0:
        kind = type(embeddings).__name__
        raise TypeError(f"embeddings must be an array (n, dim), got {kind}")
    vectors, tags = checked_rows(embeddings, labels)
    n_rows = len(vectors)
    if images is not None and len(images) != n_rows:
        raise ValueError(f"embeddings has {n_rows} rows, images has {len(images)} values")
    points, shares = plane(vectors)
    figure = new_figure(9.5, 7.5, images=images is not None)
    axes = figure.subplots()
    tag_array = np.asarray([str(tag) for tag in tags])
    names = sorted(set(tag_array.tolist()))
    colors, _ = _styles(len(names))
    _draw_points(axes, points, tag_array, 0.8 if images is None else 0.0)
    if images is not None:
        _draw_images(axes, points, images, [colors[names.index(tag)] for tag in tag_array])
    _set_scales(axes, shares)
    if title:
        axes.set_title(title)
    if labels is not None and len(names) <= NAMED and len(names) < n_rows:
        _draw_names(axes, names, points, tag_array, colors)
    return figure


def _set_scales(axes: Axes, shares: NDArray[np.float64]) -> None:
    """Use the same scale for both axes, and label them with their share of the variance."""
    for axis, share in zip("xy", shares, strict=True):
        getattr(axes, f"set_{axis}label")(f"{share:.0%} of the variance")
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.06)


def _draw_points(axes: Axes, points: NDArray[np.float64], tags: NDArray[Any], alpha: float) -> None:
    """Draw each point with the colour and marker of its class."""
    names = sorted(set(tags.tolist()))
    for name, color, mark in zip(names, *_styles(len(names)), strict=True):
        mine = points[tags == name]
        axes.scatter(
            mine[:, 0], mine[:, 1], s=30, alpha=alpha, linewidths=0, color=[color], marker=mark
        )


def _draw_names(
    axes: Axes,
    names: Sequence[str],
    points: NDArray[np.float64],
    tags: NDArray[Any],
    colors: Sequence[Any],
) -> None:
    """Write each name near the middle of its points without covering points or other names.

    All names are inside the frame. A name that had to be moved has a line to its original
    position.
    """
    from matplotlib.lines import Line2D

    middles = [np.median(points[tags == name], axis=0) for name in names]
    # The final size of the frame, and therefore the limits, are only known after the layout.
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    corner = np.asarray([axes.get_xlim()[0], axes.get_ylim()[0]])
    extent = np.asarray([axes.get_xlim()[1], axes.get_ylim()[1]]) - corner
    marks = (points - corner) / extent  # from here on as fractions of the frame
    taken = np.empty((0, 4))  # centres and half sizes of the placed names
    for number in sorted(range(len(names)), key=lambda i: float(middles[i][1])):
        text = shorten(names[number])
        half = np.asarray([len(text) * _LETTER / 2 + _PAD[0], _LINE / 2 + _PAD[1]])
        home = (middles[number] - corner) / extent
        tried = np.clip(home + _AROUND, half + 0.004, 1 - half - 0.004)
        apart = np.abs(tried[:, None] - taken[None, :, :2])
        on_names = (apart < half + taken[None, :, 2:]).all(axis=2).sum(axis=1)
        on_marks = (np.abs(tried[:, None] - marks[None]) < half + _MARK).all(axis=2).sum(axis=1)
        away = np.hypot(*((tried - home) / _STEP).T)
        place = tried[np.argmin(20 * on_names + on_marks + 0.2 * away)]
        taken = np.concatenate([taken, [[*place, *half]]])
        x, y = corner + extent * place
        if (np.abs(place - home) > half).any():
            ends = np.stack([middles[number], [x, y]])
            line = Line2D(ends[:, 0], ends[:, 1], color=colors[number], linewidth=0.8, zorder=1.5)
            axes.add_artist(line)  # add_line would change the limits
        axes.text(
            x,
            y,
            text,
            fontsize=7,
            ha="center",
            va="center",
            zorder=10,
            bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": colors[number], "pad": 1.5},
        )


def _draw_images(
    axes: Axes, points: NDArray[np.float64], images: Sequence[Any], colors: Sequence[Any]
) -> None:
    """Draw up to `_IMAGES` images at their points, with frames in the colours of the classes."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    n = len(points)
    for row in np.unique(np.linspace(0, n - 1, min(n, _IMAGES)).astype(int)):
        small = thumbnail(images[row], 2 * _SIDE)
        if isinstance(small, str):
            continue
        # A zoom of 1 in OffsetImage means 72 pixels per inch.
        zoom = _SIDE / max(small.shape[:2]) * 72 / axes.figure.get_dpi()
        box = AnnotationBbox(
            OffsetImage(small, zoom=zoom, resample=True),
            (points[row, 0], points[row, 1]),
            pad=0.08,
            bboxprops={"edgecolor": colors[row], "linewidth": 1.5},
        )
        axes.add_artist(box)


def plane(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the coordinates ``(n, 2)`` of unit vectors on their two leading principal axes.

    Also returns the share of the variance of each axis. The sign is chosen so that the largest
    coordinate of each axis is positive; otherwise the plot could flip from run to run.
    """
    wide = unit_rows(vectors)
    wide -= wide.mean(axis=0)
    # Eigenvectors of the smaller of the two Gram matrices.
    small = wide @ wide.T if len(wide) <= wide.shape[1] else wide.T @ wide
    values, axes = np.linalg.eigh(small)
    values, axes = np.maximum(values[::-1], 0), axes[:, ::-1]
    two = min(2, len(values))
    points = (
        axes[:, :two] * np.sqrt(values[:two])
        if len(wide) <= wide.shape[1]
        else (wide @ axes[:, :two])
    )
    points = np.pad(points, ((0, 0), (0, 2 - two)))
    largest = np.abs(points).argmax(axis=0)
    points = points * np.where(points[largest, [0, 1]] < 0, -1.0, 1.0)
    shares = np.pad(values[:two], (0, 2 - two)) / (values.sum() or 1.0)
    return points, shares


def _styles(n: int) -> tuple[list[Any], list[str]]:
    """Return n colours and n markers; the combinations are different as far as possible."""
    from matplotlib import colormaps

    both = list(colormaps["tab20"].colors)  # type: ignore[attr-defined]
    both = both[:4] + both[8:]  # without green and red, which mean right and wrong
    colors = both[::2] + both[1::2]  # the strong ones first
    marks = "os^vDP*X"
    return (
        [colors[i % len(colors)] for i in range(n)],
        [marks[(i // len(colors)) % len(marks)] for i in range(n)],
    )
