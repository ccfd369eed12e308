"""Pictures of results, drawn with matplotlib."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from birdembed._query import is_image
from birdembed._search_result import Match, SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL = 2.0  # inches
_TITLE = 26  # characters that fit above a cell


def new_figure(width: float, height: float) -> Figure:
    """Return a figure that no window system and no global list knows of."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'birdembed[plot]'") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plot_grid(
    queries: Any,
    results: SearchResult | Sequence[SearchResult],
    *,
    max_queries: int = 20,
    max_matches: int = 10,
    title: str | None = None,
) -> Figure:
    """Draw each query and its matches in a row, with labels and scores.

    Parameters
    ----------
    queries : image or sequence of images
        What was asked: paths, bytes, PIL images or uint8 arrays; anything else (a position, None)
        gives a cell with its name.
    results : SearchResult or sequence of them
        The matches; they are drawn from their paths.
    max_queries, max_matches : int
        Rows and matches that are drawn at most.
    title : str, optional
        Heading.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        `queries` and `results` differ in length.
    """
    single = isinstance(results, SearchResult) and results.scores.ndim == 1
    rows: list[SearchResult] = [results] if single else list(results)  # type: ignore[list-item]
    asked = [queries] if single and not _is_list(queries) else list(_each(queries, len(rows)))
    if len(asked) != len(rows):
        raise ValueError(f"queries and results differ in length: {len(asked)} and {len(rows)}")
    rows, asked = rows[:max_queries], asked[:max_queries]
    columns = 1 + max((min(len(row), max_matches) for row in rows), default=0)
    figure = new_figure(_CELL * columns, (_CELL + 0.45) * max(len(rows), 1))
    if title:
        figure.suptitle(title)
    grid = figure.subplots(max(len(rows), 1), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for line, query, row in zip(grid, asked, rows, strict=False):
        _cell(line[0], query, f"query\n{_shorten(_name(query, row.query))}", "tab:blue")
        for axes, match in zip(line[1:], list(row)[:max_matches], strict=False):
            _cell(axes, match.path, _caption(match), "0.8")
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


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and not is_image(value)


def _each(queries: Any, n: int) -> Sequence[Any]:
    if queries is None:
        return [None] * n
    return [queries] if is_image(queries) else queries


def _cell(axes: Axes, image: Any, caption: str, color: str) -> None:
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color(color)
        side.set_linewidth(2)
    axes.set_title(caption, fontsize=9)
    pixels = _pixels_of(image)
    if isinstance(pixels, str):
        axes.text(0.5, 0.5, pixels, ha="center", va="center", fontsize=8, transform=axes.transAxes)
        axes.set_facecolor("0.95")
        return
    axes.imshow(pixels)


def _pixels_of(image: Any) -> NDArray[np.uint8] | str:
    """Return what to draw, or why there is nothing."""
    if not is_image(image):
        return "no picture"
    if isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 3:
        return image
    from birdembed._pixels import decode_image

    try:
        pixels: NDArray[np.uint8] = decode_image(image)
    except (OSError, ValueError) as error:
        return _wrapped(str(error))
    return pixels


def _caption(match: Match) -> str:
    name = match.label if match.label is not None else os.path.basename(match.id or "")
    return f"{_shorten(name)}\n{match.score:.3f}"


def _name(image: Any, query: Any) -> str:
    if isinstance(image, (str, os.PathLike)):
        return os.path.basename(os.fspath(image))
    return (
        os.path.basename(query) if isinstance(query, str) else "" if query is None else f"{query}"
    )


def _shorten(text: str) -> str:
    # matplotlib reads $...$ as mathematics.
    text = text.replace("$", r"\$")
    return text if len(text) <= _TITLE else text[: _TITLE - 1] + "…"


def _wrapped(text: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text.replace("$", r"\$"), 24)[:6])
