"""Plot training curves during training."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from birdembed.base.optional import need
from birdembed.base.public import public
from birdembed.training.callbacks import Callback, TrainerLike

if TYPE_CHECKING:
    from birdembed.training.history import History


@public
class LivePlot(Callback):
    """Callback that plots loss and accuracy below the notebook cell during training.

    Parameters
    ----------
    every : float
        Minimum number of seconds between updates. The plot is always updated after an epoch.

    Raises
    ------
    ImportError
        IPython is not installed; the message names the extra.

    Notes
    -----
    It does nothing outside a notebook.
    """

    def __init__(self, every: float = 5.0) -> None:
        need("IPython.display", "notebook", "LivePlot")
        self.every = every
        self.steps: list[tuple[float, float]] = []  # position in epochs, and the loss
        self._handle: Any = None
        self._shown = False
        self._drawn = 0.0

    def on_train_begin(self, trainer: TrainerLike) -> None:
        """Create the output area for the plot."""
        from IPython.core.getipython import get_ipython
        from IPython.display import DisplayHandle

        self.steps.clear()
        self._handle = DisplayHandle() if get_ipython() is not None else None
        self._shown = False

    def on_step_end(self, trainer: TrainerLike, logs: dict[str, Any]) -> None:
        """Record the loss, and update the plot if enough time has passed."""
        if self._handle is None:
            return
        self.steps.append((logs["step"] / trainer.steps_per_epoch, logs["train_loss"]))
        if time.monotonic() - self._drawn >= self.every:
            self._draw(trainer.history)

    def on_epoch_end(self, trainer: TrainerLike, logs: dict[str, Any]) -> None:
        """Update the plot."""
        if self._handle is not None:
            self._draw(trainer.history)

    def on_train_end(self, trainer: TrainerLike, history: History) -> None:
        """Draw the final plot, with the best epoch."""
        if self._handle is not None:
            self._draw(history)

    def _draw(self, history: History) -> None:
        from birdembed.display.curves import plot_history

        figure = plot_history(history, steps=self.steps)
        (self._handle.update if self._shown else self._handle.display)(figure)
        self._shown = True
        self._drawn = time.monotonic()
