"""Plot similarities within and between classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdembed.base.listed import label_values
from birdembed.base.vectors import as_vectors, check_finite, normalized
from birdembed.display.figure import NAMED, new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_PIECE = 1024  # rows at a time
_BINS = 100


def plot_similarity(
    embeddings: ArrayLike,
    labels: Sequence[Any],
    *,
    reference: ArrayLike | None = None,
    reference_labels: Sequence[Any] | None = None,
    own: Sequence[int] | NDArray[np.int64] | None = None,
    title: str | None = None,
) -> Figure:
    """Plot the similarities of images within classes and between classes.

    The left plot shows histograms of the cosine similarity for pairs of the same class and of
    different classes, with the means. The right plot shows the mean similarity for each pair of
    classes.

    Parameters
    ----------
    embeddings : array
        `(n, dim)` floats.
    labels : sequence
        One class per row.
    reference : array, optional
        `(m, dim)` floats. Each pair consists of a row of `embeddings` and a row of `reference`.
        Default: `embeddings`, without pairs of a row with itself.
    reference_labels : sequence, optional
        One class per row of `reference`.
    own : sequence of int, optional
        Position of each row in `reference`, or -1 if it is not there. These pairs are left out.
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        Lengths or dimensions differ, there are fewer than two rows, or a row contains NaN.
    """
    ours, theirs, own = _checked_pairs(embeddings, labels, reference, reference_labels, own)
    edges = np.linspace(-1, 1, 2 * _BINS + 1)
    same, different, means = _pair_counts(ours, theirs, own, edges)
    side = min(max(4.5, 0.16 * max(means.shape) + 2), 12.0)
    figure = new_figure(5.5 + side, side)
    left, right = figure.subplots(1, 2, width_ratios=[5.5, side])
    _draw_histograms(left, same, different, edges)
    image = _draw_means(right, means, ours[2], theirs[2])
    if reference is not None:
        right.set_xlabel("reference")
    figure.colorbar(image, ax=right, shrink=0.7, label="mean similarity")
    if title:
        figure.suptitle(title)
    return figure


_Rows = tuple[NDArray[np.float32], list[Any], list[str]]  # vectors, their labels, all classes


def _checked_pairs(
    embeddings: ArrayLike,
    labels: Sequence[Any],
    reference: ArrayLike | None,
    reference_labels: Sequence[Any] | None,
    own: Sequence[int] | NDArray[np.int64] | None,
) -> tuple[_Rows, _Rows, NDArray[np.int64]]:
    """Return the rows on both sides of the pairs, and the position of each row in the other."""
    if (reference is None) != (reference_labels is None):
        raise ValueError("reference and reference_labels must be given together")
    if reference is None or reference_labels is None:
        vectors, tags = checked_rows(embeddings, labels)
        corpus, corpus_tags, own = vectors, tags, np.arange(len(vectors))
    else:
        vectors, tags = checked_rows(embeddings, labels, least=1)
        corpus, corpus_tags = checked_rows(reference, reference_labels, "reference", least=1)
        own = np.full(len(vectors), -1) if own is None else np.asarray(own, np.int64)
    if vectors.shape[1] != corpus.shape[1]:
        raise ValueError(
            f"embeddings have {vectors.shape[1]} dimensions, the reference has {corpus.shape[1]}"
        )
    if len(own) != len(vectors):
        raise ValueError(f"embeddings has {len(vectors)} rows, own has {len(own)} values")
    names, others = sorted(map(str, set(tags))), sorted(map(str, set(corpus_tags)))
    return (vectors, tags, names), (corpus, corpus_tags, others), own


def _draw_histograms(
    axes: Axes, same: NDArray[np.int64], different: NDArray[np.int64], edges: NDArray[np.float64]
) -> None:
    """Draw histograms of the similarities, with the mean for each kind of pair."""
    middles = (edges[:-1] + edges[1:]) / 2
    for counts, label, color in (
        (different, "different", "tab:gray"),
        (same, "same", "tab:blue"),  # green is for what is right
    ):
        if not counts.sum():
            continue
        mean = float((counts * middles).sum() / counts.sum())
        axes.stairs(
            counts / counts.sum(),
            edges,
            fill=True,
            alpha=0.5,
            color=color,
            label=f"{label}: mean {mean:.3f}",
        )
        axes.axvline(mean, color=color, linewidth=1.5)
    used = np.flatnonzero(same + different)
    axes.set_xlim(edges[used[0]] - 0.02, edges[used[-1] + 1] + 0.02)
    axes.set_box_aspect(0.8)
    axes.set_xlabel("cosine similarity of two images")
    axes.set_ylabel("share of the pairs")
    axes.legend()


def _draw_means(
    axes: Axes, means: NDArray[np.float64], names: Sequence[str], others: Sequence[str]
) -> AxesImage:
    """Draw the mean similarity for each pair of classes, with names if there is space."""
    image = axes.imshow(means, cmap="viridis", vmin=float(np.nanmin(means)), vmax=1)
    if max(len(names), len(others)) <= NAMED:
        across, down = map(shorten, others), map(shorten, names)
        axes.set_xticks(range(len(others)), list(across), rotation=90, fontsize=6)
        axes.set_yticks(range(len(names)), list(down), fontsize=6)
    return image


def checked_rows(
    embeddings: ArrayLike, labels: Sequence[Any] | None, name: str = "embeddings", least: int = 2
) -> tuple[NDArray[np.float32], list[Any]]:
    """Return float32 rows and their labels, "" without any; raise an error if they do not match."""
    vectors, _ = as_vectors(embeddings, name, one=False)
    tags: list[Any] = [""] * len(vectors) if labels is None else list(label_values(labels))
    if len(tags) != len(vectors):
        raise ValueError(f"{name} has {len(vectors)} rows, labels has {len(tags)} values")
    if len(vectors) < least:
        raise ValueError(f"{name} has {len(vectors)} rows, at least {least} are needed")
    check_finite(vectors, name)
    return vectors, tags


def _pair_counts(
    ours: _Rows, theirs: _Rows, own: NDArray[np.int64], edges: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return histograms of same and different pairs and the class means.

    Pairs of a row with itself are left out.
    """
    (units, tags, numbers), (others, other_tags, columns) = map(_numbered, (ours, theirs))
    same, different = np.zeros(len(edges) - 1, np.int64), np.zeros(len(edges) - 1, np.int64)
    sums = np.zeros((len(ours[2]), len(theirs[2])))
    pairs = np.zeros_like(sums)
    for start in range(0, len(units), _PIECE):
        rows = slice(start, start + _PIECE)
        scores = np.clip(units[rows] @ others.T, -1, 1)
        alike = tags[rows, None] == other_tags[None, :]
        apart = np.ones(scores.shape, bool)
        here = np.flatnonzero(own[rows] >= 0)
        apart[here, own[rows][here]] = False
        same += np.histogram(scores[alike & apart], edges)[0]
        different += np.histogram(scores[~alike & apart], edges)[0]
        for table, values in ((sums, np.where(apart, scores, 0)), (pairs, apart)):
            by_class = np.zeros((len(values), table.shape[1]))
            np.add.at(by_class.T, columns, values.T)
            np.add.at(table, numbers[rows], by_class)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(pairs > 0, sums / pairs, np.nan)
    return same, different, means


def _numbered(rows: _Rows) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[np.int64]]:
    """Return unit vectors, labels as text and class numbers."""
    vectors, tags, names = rows
    number = {name: i for i, name in enumerate(names)}
    texts = [str(tag) for tag in tags]
    numbers = np.asarray([number[text] for text in texts], np.int64)
    return normalized(vectors), np.asarray(texts), numbers
