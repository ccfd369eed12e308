"""Find a learning rate."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from birdembed.base.checks import check_integer, check_number
from birdembed.base.public import public
from birdembed.data.folder import ImageFolder
from birdembed.model.model import Model
from birdembed.training.config import LARGEST_LR
from birdembed.training.diverged import Diverged
from birdembed.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SMOOTHING = 0.9  # of the moving average of the loss
_GONE = 3.0  # the loss has diverged if it is above the minimum by this many times its size


@public
@dataclass(frozen=True)
class LrFind:
    """Result of `lr_find`.

    Attributes
    ----------
    lrs, losses : list of float
        Learning rate and smoothed loss of each step.
    suggestion : float
        The suggested learning rate: two thirds along the longest decrease of the loss.
    """

    lrs: list[float]
    losses: list[float]
    suggestion: float

    def plot(self) -> Figure:
        """Plot the loss against the learning rate.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from birdembed.display.figure import new_figure

        figure = new_figure(6, 4)
        axes = figure.subplots()
        axes.plot(self.lrs, self.losses)
        axes.axvline(self.suggestion, color="tab:red", linestyle="--")
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss, smoothed")
        axes.set_title(f"suggestion: {self.suggestion:.2g}")
        return figure

    def __repr__(self) -> str:
        """Return the suggestion as text."""
        return f"LrFind(suggestion={self.suggestion:.3g}, {len(self.lrs)} steps)"


def lr_find(
    model: Model,
    train: str | os.PathLike[str] | ImageFolder,
    *,
    start_lr: float = 1e-6,
    end_lr: float = 1.0,
    steps: int = 100,
    show_progress_bar: bool | None = None,
    **config: Any,
) -> LrFind:
    """Find a learning rate by training a copy of a model with increasing learning rates.

    Parameters
    ----------
    model : Model
    train : ImageFolder, str or Path
        A path is a folder with one subfolder per class.
    start_lr, end_lr : float
        The learning rate is multiplied by the same factor at each step. The search stops early if
        the loss diverges.
    steps : int
    show_progress_bar : bool, optional
    **config
        Fields of `TrainConfig`; pass the options of the planned training. `schedule`, `ema`,
        `checkpoint_dir` and `patience` have no effect here.

    Returns
    -------
    LrFind
        Its `suggestion` is the learning rate; `plot()` shows the curve.

    Raises
    ------
    TypeError, ValueError
        `start_lr` is not below `end_lr`, an option is out of range, or the loss is NaN from the
        start.
    """
    start_lr = check_number("start_lr", start_lr, 0, LARGEST_LR, False)
    end_lr = check_number("end_lr", end_lr, 0, LARGEST_LR, False)
    if not 0 < start_lr < end_lr:
        raise ValueError(f"start_lr must be above 0 and below end_lr, got {start_lr}, {end_lr}")
    steps = check_integer("steps", steps, 10)
    # Turn off what needs more than these few steps; patience would require valid=.
    config |= {"schedule": "constant", "ema": None, "checkpoint_dir": None, "patience": None}
    config.pop("callbacks", None)  # an option of `fine_tune`; callbacks are not called here
    # A run works on a copy of the weights; the model only changes by an explicit `publish`.
    run = Run(model, train, show_progress_bar=show_progress_bar, **config)
    top = run.config.lr
    if not top:
        raise ValueError(
            "lr must be above 0, got 0, because all learning rates are scaled by it; omit lr"
        )
    run.read_images()
    engine = run.ready()
    run.begin()
    lrs: list[float] = []
    losses: list[float] = []
    mean = 0.0
    report = run.report
    report.start("learning rates", steps)
    try:
        for i, batch in enumerate(itertools.islice(_endless(run), steps)):
            lr = start_lr * (end_lr / start_lr) ** (i / (steps - 1))
            try:
                loss = engine.step([batch], lr / top).loss
            except Diverged as error:
                if not lrs:  # nothing was learned yet, so this is not due to the learning rate
                    raise ValueError(f"no learning rate can be found: {error.what}") from error
                break
            mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
            smooth = mean / (1 - _SMOOTHING ** (i + 1))
            lrs.append(lr)
            losses.append(smooth)
            report.update(1, lr=lr, loss=smooth)
            if _has_diverged(losses):
                break
    finally:
        report.close()
    if len(lrs) < 3:
        raise ValueError(
            f"the loss diverges within {len(lrs)} steps at start_lr={start_lr}; use a smaller one"
        )
    return LrFind(lrs, losses, suggest(lrs, losses))


def _endless(run: Run) -> Iterator[Any]:
    for epoch in itertools.count():
        yield from run.batches.epoch(epoch, run.size_at(0))


def _has_diverged(losses: list[float]) -> bool:
    """Return whether the last loss is far above the minimum, which may be negative."""
    low = min(losses)
    size = low if low > 0 else max(-low, losses[0] - low)
    return losses[-1] - low > _GONE * size > 0


def suggest(lrs: list[float], losses: list[float]) -> float:
    """Return the learning rate two thirds along the longest decreasing subsequence of the losses.

    This is the "valley" rule of fastai. The point is before the minimum, because at the minimum the
    learning rate is already too high.
    """
    best = [1] * len(losses)
    before = [-1] * len(losses)
    for i, loss in enumerate(losses):
        for j in range(i):
            if losses[j] > loss and best[j] + 1 > best[i]:
                best[i], before[i] = best[j] + 1, j
    at = max(range(len(losses)), key=lambda i: best[i])
    path = []
    while at >= 0:
        path.append(at)
        at = before[at]
    path.reverse()
    return lrs[path[2 * (len(path) - 1) // 3]]
