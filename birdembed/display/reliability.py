"""Plot how reliable probabilities are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from birdembed.display.figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_reliability(
    bins: Sequence[Mapping[str, Any]], *, error: float | None = None, title: str | None = None
) -> Figure:
    """Plot the share of right answers against the predicted probability.

    Parameters
    ----------
    bins : sequence of dict
        ``probability, right, n`` for each bin: mean probability, share of right answers, and
        number of images.
    error : float, optional
        The expected calibration error, for the legend.
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        In the upper plot, points on the dotted diagonal are right as often as predicted. The lower
        plot shows the number of images per bin.

    Raises
    ------
    ValueError
        There are no bins.
    """
    if not bins:
        raise ValueError("there is no calibration to plot, because there were too few images")
    figure = new_figure(5, 5)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    stated = [row["probability"] for row in bins]
    label = None if error is None else f"expected calibration error {error:.3f}"
    upper.plot([0, 1], [0, 1], color="0.6", linestyle=":")
    upper.plot(stated, [row["right"] for row in bins], marker="o", label=label)
    upper.set_xlim(0, 1.02)
    upper.set_ylim(0, 1.02)
    upper.set_ylabel("share that is right")
    if label:
        upper.legend(loc="upper left")
    lower.bar(stated, [row["n"] for row in bins], width=0.05, color="tab:blue")
    lower.set_yscale("log")  # nearly all images are in the last bin
    lower.minorticks_off()
    lower.set_ylabel("images")
    lower.set_xlabel("probability")
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    if title:
        figure.suptitle(title)
    return figure
