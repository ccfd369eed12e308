"""Plot training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from birdembed.display.figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Without green and red, which mean right and wrong.
_COLORS = ("tab:blue", "tab:orange", "tab:purple", "tab:brown")
_LOSSES = ("train_loss", "valid_loss")
_RATES = ("train_accuracy", "valid_accuracy", "precision_at_1", "map_at_r")


def plot_history(
    history: Any, *, steps: Sequence[tuple[float, float]] = (), title: str | None = None
) -> Figure:
    """Plot the losses and scores of a training over its epochs.

    Parameters
    ----------
    history : History or list of dict
        One dict per epoch with the keys of `History`; missing keys are not plotted.
    steps : sequence of (float, float), optional
        Position (in epochs) and loss of single steps, plotted as a thin line.
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        There are no epochs and no steps.
    """
    epochs: Sequence[Mapping[str, Any]] = list(getattr(history, "epochs", history))
    if not epochs and not steps:
        raise ValueError("history has no epochs to plot")
    figure = new_figure(10, 3.6)
    left, right = figure.subplots(1, 2)
    if steps:
        left.plot(*zip(*steps, strict=True), color="0.75", linewidth=0.8, label="each step")
    _curves(left, epochs, _LOSSES, "loss")
    _curves(right, epochs, _RATES, "share")
    right.set_ylim(0, 1.02)
    best = getattr(history, "best", None)
    if isinstance(best, Mapping) and "epoch" in best:
        right.axvline(best["epoch"], color="0.6", linestyle=":", label="best epoch")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    if title:
        figure.suptitle(title)
    return figure


def _curves(axes: Any, epochs: Sequence[Mapping[str, Any]], keys: Sequence[str], name: str) -> None:
    axes.set_ylabel(name)
    axes.set_prop_cycle(color=_COLORS)
    for key in keys:
        points = [
            (float(row.get("epoch", place)), float(row[key]))
            for place, row in enumerate(epochs, 1)
            if row.get(key) is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=key)
