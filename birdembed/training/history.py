"""The metrics of every epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from birdembed.base.checks import check_boolean
from birdembed.base.public import public

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

_EPOCHS = 30  # rows shown in notebooks

#: Key of each monitor in the values of an epoch, and whether higher is better.
MONITORED = {
    "accuracy": ("valid_accuracy", True),
    "loss": ("valid_loss", False),
    "precision_at_1": ("precision_at_1", True),
    "map_at_r": ("map_at_r", True),
}


def rank(logs: dict[str, Any], monitor: str) -> tuple[float, float]:
    """Return a sort key that is larger for a better epoch; ties are broken by the lower loss.

    With a small `valid`, many epochs have the same accuracy.
    """
    key, more = MONITORED[monitor]
    value = logs.get(key)
    loss = logs.get("valid_loss")
    return (_worth(value if more else _minus(value)), _worth(_minus(loss)))


def _minus(value: Any) -> Any:
    return None if value is None else -value


def _worth(value: Any) -> float:
    return -math.inf if value is None or math.isnan(value) else float(value)


@public
class History:
    """The metrics of a training, epoch by epoch.

    Attributes
    ----------
    epochs : list of dict
        One dict per epoch: `epoch` (from 1), `step`, `train_loss`, `train_accuracy`, `lr`,
        `seconds`, `images_per_second`, and with a `valid` set also `valid_loss`,
        `valid_accuracy`, `precision_at_1`, `map_at_r`. Accuracies are between 0 and 1.
    monitor : str
        Score that chooses the best epoch.
    """

    def __init__(
        self,
        epochs: Sequence[dict[str, Any]] = (),
        monitor: str = "accuracy",
        validated: bool = True,
    ) -> None:
        self.epochs: list[dict[str, Any]] = [dict(epoch) for epoch in epochs]
        self.monitor = monitor
        self._validated = check_boolean("validated", validated)

    @property
    def best(self) -> dict[str, Any]:
        """The best epoch by `monitor` (the first one if tied); without `valid` the last epoch.

        Empty if no epoch has finished.
        """
        if not self.epochs:
            return {}
        if not self._validated:
            return self.epochs[-1]
        return max(self.epochs, key=lambda logs: rank(logs, self.monitor))

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.epochs)

    def to_pandas(self) -> DataFrame:
        """Return a DataFrame with one row per epoch.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        from birdembed.base.optional import need

        return need("pandas", "pandas", "History.to_pandas").DataFrame(self.epochs)

    def plot(self) -> Figure:
        """Plot losses and scores over the epochs.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from birdembed.display.curves import plot_history

        return plot_history(self)

    def __repr__(self) -> str:
        """Return the number of epochs and the best score as text."""
        best = ", ".join(
            f"{key} {best:.4f}" if isinstance(best, float) else f"{key} {best}"
            for key, best in self.best.items()
            if key not in ("step", "seconds", "lr", "images_per_second")
        )
        return f"History({len(self)} epochs" + (f"; best: {best})" if best else ")")

    def _repr_html_(self) -> str:
        from birdembed.display import html

        if not self.epochs:
            return html.heading("History", "no epoch has finished")
        keys = list(dict.fromkeys(key for logs in self.epochs for key in logs))
        epochs, best = self.epochs, self.best
        text = "the best epoch in bold"
        if len(epochs) > _EPOCHS:
            kept = epochs[-_EPOCHS:]
            epochs = kept if best in kept else [best, *kept]
            text = f"the last {_EPOCHS} of {len(self.epochs)} epochs and the best"
        rows = [[html.number(logs.get(key)) for key in keys] for logs in epochs]
        return html.table(keys, rows, bold=epochs.index(best)) + html.note(text)
