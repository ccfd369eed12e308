"""Plot grids of images: matches, errors and duplicates."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from birdembed.base.checks import check_integer
from birdembed.base.text import shortened, shown
from birdembed.display.html import ASKED, RIGHT, WRONG
from birdembed.images.sources import is_image
from birdembed.images.thumbnails import thumbnail

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches, with 80 pixels each on the screen, so that an image has 120 pixels.
_TILE, _GAP, _LINE = 1.5, 0.14, 0.135
_HEAD, _TITLE, _EDGE = 0.24, 0.36, 0.08
_FONT = 7.5  # points
_NAME = 21  # characters that fit below an image
_PIXELS = 320  # size of the images in the figure, enough to save it in twice the size
_PLAIN = "#b8b8b8"


@dataclass
class Tile:
    """An image, the lines below it, and the colour of its frame (None for a thin frame)."""

    image: Any
    lines: Sequence[str]
    frame: str | None = None


# The attributes of `SearchResult`, `Match`, `Loss` and `Duplicate` that are used here.


class _Found(Protocol):
    """The attributes of a `Match` that are shown."""

    @property
    def id(self) -> str | None: ...
    @property
    def label(self) -> str | None: ...
    @property
    def score(self) -> float: ...
    @property
    def path(self) -> str | None: ...


class _Result(Protocol):
    """The matches of one query (`scores` has one axis) or of many queries (two axes)."""

    scores: Any
    query: Any

    def __iter__(self) -> Iterator[Any]: ...


class _Mistaken(Protocol):
    """The attributes of a `Loss` that are shown."""

    @property
    def path(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def found(self) -> str: ...
    @property
    def loss(self) -> float: ...


class _Pair(Protocol):
    """The attributes of a `Duplicate` that are shown."""

    @property
    def path(self) -> str: ...
    @property
    def other(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def other_label(self) -> str: ...
    @property
    def score(self) -> float: ...


def plot_grid(
    queries: Any,
    results: _Result | Sequence[_Result],
    *,
    expected: Any = None,
    captions: Any = None,
    max_queries: int = 20,
    max_matches: int = 10,
    title: str | None = None,
) -> Figure:
    """Plot each query and its matches in a row, with names and scores.

    Parameters
    ----------
    queries : image or sequence of images
        The query images: paths, bytes, PIL images or uint8 arrays in RGB. Anything else (a
        position, None) is shown as text.
    results : SearchResult or sequence of them
        The matches; their images are read from their paths.
    expected : str or sequence of str, optional
        The expected label or id for each query. Matches that have it get a green frame.
    captions : str or sequence of str, optional
        Caption below each query, one or two lines. Default: the file name.
    max_queries, max_matches : int
        Maximum number of rows and matches.
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError
        `results` are no results of a search, or `queries` no sequence.
    ValueError
        The sequences differ in length.
    """
    max_queries = check_integer("max_queries", max_queries, 1)
    max_matches = check_integer("max_matches", max_matches, 1)
    asked, rows = _paired(queries, results)
    right = _texts(expected, len(rows), "expected")
    below = _texts(captions, len(rows), "captions")
    if len(asked) != len(rows):
        raise ValueError(
            f"queries and results have different lengths: {len(asked)} and {len(rows)}"
        )
    every = list(zip(asked, rows, right, below, strict=True))
    tiles = [_row_of_tiles(*one, max_matches) for one in every[:max_queries]]
    most = max(map(len, tiles), default=1)
    heads = ["query", *(f"match {place}" for place in range(1, most))]
    return draw(tiles, heads=heads, title=title)


def _paired(queries: Any, results: _Result | Sequence[_Result]) -> tuple[list[Any], list[_Result]]:
    """Return the queries and their results as lists, also for a single query."""
    single = _is_of_one_query(results)
    rows: list[_Result] = [results] if single else _results(results)  # type: ignore[list-item]
    if single and not _is_list(queries):
        return [queries], rows
    return list(_each(queries, len(rows))), rows


def _results(results: Any) -> list[Any]:
    """Return the result of each query as a list; raise a TypeError for anything else."""
    rows = list(results) if isinstance(results, Iterable) else [results]
    wrong = [row for row in rows if not _is_of_one_query(row)]
    if wrong:
        raise TypeError(
            "results must be a SearchResult, such as Index.search returns, or a sequence of them, "
            f"got {shown(wrong[0])}"
        )
    return rows


def _row_of_tiles(
    query: Any, row: _Result, wanted: str | None, caption: str | None, most: int
) -> list[Tile]:
    """Return the tile of a query and the tiles of its first matches."""
    name = _name(query, row.query) if caption is None else caption
    return [
        Tile(query, name.split("\n")[:2], ASKED),
        *(_match_tile(match, wanted) for match in list(row)[:most]),
    ]


def plot_losses(
    losses: Sequence[_Mistaken], *, columns: int = 5, title: str | None = None
) -> Figure:
    """Plot the images with the highest loss, with their labels and predictions.

    Parameters
    ----------
    losses : sequence of Loss
        Result of `top_losses`.
    columns : int
        Number of images per row.
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = check_integer("columns", columns, 1)
    _check_results("losses", losses, "top_losses")
    tiles = [
        Tile(
            loss.path,
            [loss.label, f"found: {loss.found}", f"loss {loss.loss:.3f}"],
            RIGHT if loss.found == loss.label else WRONG,
        )
        for loss in losses
    ]
    return draw([tiles[i : i + columns] for i in range(0, len(tiles), columns)], title=title)


def plot_duplicates(
    pairs: Sequence[_Pair], *, max_pairs: int = 12, columns: int = 3, title: str | None = None
) -> Figure:
    """Plot pairs of duplicate images side by side.

    Parameters
    ----------
    pairs : sequence of Duplicate
        Result of `find_duplicates`.
    max_pairs : int
        Maximum number of pairs.
    columns : int
        Number of pairs per row.
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = check_integer("columns", columns, 1)
    max_pairs = check_integer("max_pairs", max_pairs, 1)
    _check_results("pairs", pairs, "find_duplicates")
    tiles: list[Tile] = []
    for pair in list(pairs)[:max_pairs]:
        color = RIGHT if pair.label == pair.other_label else WRONG
        left = [pair.label, _name(pair.path, None), f"score {pair.score:.3f}"]
        right = [pair.other_label, _name(pair.other, None)]
        tiles += [Tile(pair.path, left, color), Tile(pair.other, right, color)]
    rows = [tiles[i : i + 2 * columns] for i in range(0, len(tiles), 2 * columns)]
    return draw(rows, title=title, pairs=True)


def _check_results(name: str, values: Any, function: str) -> None:
    """Raise a TypeError unless the values are a sequence, such as a function returns."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be what {function} returns, got {shown(values)}")


def draw(
    rows: Sequence[Sequence[Tile]],
    *,
    heads: Sequence[str] = (),
    title: str | None = None,
    pairs: bool = False,
) -> Figure:
    """Draw rows of tiles of the same size, with `heads` above the columns and `pairs` together."""
    from birdembed.display.figure import figure_class

    across = max(map(len, rows), default=1) or 1
    lines = max((len(tile.lines) for row in rows for tile in row), default=1)
    gaps = [
        _GAP / 3 if pairs and column % 2 else _GAP * (2 if pairs else 1) for column in range(across)
    ]
    lefts = [_EDGE + column * _TILE + sum(gaps[1 : column + 1]) for column in range(across)]
    above = (_TITLE if title else 0) + (_HEAD if heads else 0)
    step = _TILE + lines * _LINE + _GAP
    width = lefts[-1] + _TILE + _EDGE
    height = _EDGE + above + step * max(len(rows), 1)
    figure: Figure = figure_class()(figsize=(width, height), images=True)
    if not rows:
        _text(
            figure,
            width / 2,
            height / 2,
            "no images",
            size=8,
            anchor="center",
            across=(width, height),
        )
    if title:
        place = height - _EDGE - 0.12
        _text(figure, width / 2, place, title, size=10, anchor="center", across=(width, height))
    for column, head in enumerate(heads[:across]):
        middle = lefts[column] + _TILE / 2
        y = height - _EDGE - above + 0.05
        _text(figure, middle, y, head, size=8, anchor="bottom", across=(width, height))
    for number, row in enumerate(rows):
        bottom = height - _EDGE - above - number * step - _TILE
        for left, tile in zip(lefts, row, strict=False):
            box = (left / width, bottom / height, _TILE / width, _TILE / height)
            _draw_tile(figure.add_axes(box), tile)
    return figure


def _text(
    figure: Figure, x: float, y: float, text: str, *, size: float, anchor: str, across: Any
) -> None:
    figure.text(
        x / across[0],
        y / across[1],
        text,
        fontsize=size,
        ha="center",
        va=anchor,
        color="#333333",
        parse_math=False,
    )


def _draw_tile(axes: Axes, tile: Tile) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color(tile.frame or _PLAIN)
        side.set_linewidth(2 if tile.frame else 0.8)
    caption = "\n".join(shortened(line, _NAME) for line in map(str, tile.lines) if line)
    axes.set_xlabel(caption, fontsize=_FONT, labelpad=3, color="#333333", parse_math=False)
    pixels = thumbnail(tile.image, _PIXELS)
    if isinstance(pixels, str):
        reason = "\n".join(textwrap.wrap(pixels, 22)[:6])
        axes.text(
            0.5,
            0.5,
            reason,
            ha="center",
            va="center",
            fontsize=_FONT,
            transform=axes.transAxes,
            parse_math=False,
        )
        axes.set_facecolor("0.95")
        return
    axes.imshow(pixels)
    # A square of the same size for every image, which is centred in it.
    height, width = pixels.shape[:2]
    half = max(height, width) / 2
    axes.set_xlim((width - 1) / 2 - half, (width - 1) / 2 + half)
    axes.set_ylim((height - 1) / 2 + half, (height - 1) / 2 - half)


def _is_of_one_query(results: Any) -> bool:
    return getattr(getattr(results, "scores", None), "ndim", None) == 1


def _match_tile(match: _Found, wanted: str | None) -> Tile:
    name = match.label if match.label is not None else os.path.basename(match.id or "")
    right = wanted is not None and wanted in (match.label, match.id)
    return Tile(match.path, [name, f"{match.score:.3f}"], RIGHT if right else None)


def _texts(values: Any, n: int, name: str) -> list[str | None]:
    if values is None:
        return [None] * n
    given = [values] if isinstance(values, str) else list(values)
    if len(given) != n:
        raise ValueError(f"{name} has {len(given)} values, but there are {n} results")
    return [None if value is None else str(value) for value in given]


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and not is_image(value)


def _each(queries: Any, n: int) -> Sequence[Any]:
    if queries is None:
        return [None] * n
    if is_image(queries):
        return [queries]
    if not isinstance(queries, Iterable):
        raise TypeError(f"queries must be images, got {shown(queries)}")
    return list(queries)


def _name(image: Any, query: Any) -> str:
    for value in (image, query):
        if isinstance(value, (str, os.PathLike)):
            return os.path.basename(os.fspath(value))
    return "" if query is None else f"query {query}" if isinstance(query, int) else f"{query}"
