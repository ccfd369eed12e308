"""Metaflow: cards and checkpoints for training, and lists of images for a foreach.

>>> from metaflow import FlowSpec, card, checkpoint, current, retry, step   # doctest: +SKIP
>>> from birdembed.integrations.metaflow import MetaflowCallback            # doctest: +SKIP
>>> class Flow(FlowSpec):                                                   # doctest: +SKIP
...     @retry(times=3)
...     @checkpoint
...     @card(type="blank", id="training")
...     @step
...     def train(self):
...         be.fine_tune(
...             self.model, train, valid, resume=True,
...             checkpoint_dir=current.checkpoint.directory,
...             callbacks=MetaflowCallback("training"),
...         )
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from birdembed.base.checks import check_boolean, check_integer, check_number, check_string
from birdembed.base.optional import need
from birdembed.base.text import readable
from birdembed.integrations._training_plots import match_grid, png, sample, without_matplotlib
from birdembed.training.callbacks import Callback, TrainerLike
from birdembed.training.progress import duration

if TYPE_CHECKING:
    from birdembed.training.history import History

need("metaflow", "metaflow", "birdembed.integrations.metaflow")

from metaflow import current  # noqa: E402
from metaflow.cards import Image, Markdown, ProgressBar, Table, VegaChart  # noqa: E402

__all__ = ["MetaflowCallback", "figure_image", "shard_files"]

log = logging.getLogger("birdembed")

_REFRESH_EVERY = 15.0  # seconds; each refresh of a card starts a process
_MOST_POINTS = 300  # of a curve over steps
_SHOWN = 200  # images embedded for the grids
_KEPT = 2  # checkpoints of this attempt to keep
_NAME = "birdembed"  # of the checkpoints
_EXTENSION = "metaflow_extensions.obcheckpoint.plugins.machine_learning_utilities"
_CHARTS = {
    "loss": (("train_loss", "train"), ("valid_loss", "valid")),
    "accuracy": (
        ("train_accuracy", "train"),
        ("valid_accuracy", "valid"),
        ("precision_at_1", "nearest neighbour"),
        ("map_at_r", "MAP@R"),
    ),
}

_COLUMNS = {
    "epoch": "epoch",
    "train_loss": "train loss",
    "train_accuracy": "train acc.",
    "valid_loss": "valid loss",
    "valid_accuracy": "valid acc.",
    "precision_at_1": "P@1",
    "map_at_r": "MAP@R",
    "lr": "lr",
    "seconds": "seconds",
}


class MetaflowCallback(Callback):
    """Training callback that fills the card of the step and saves ``@checkpoint`` checkpoints.

    Outside a Metaflow task, or in a step without these decorators, it does nothing, so you can use
    the same training function everywhere.

    Parameters
    ----------
    card_id : str, optional
        Id of the card, if the step has several: ``@card(type="blank", id=card_id)``.
    pictures : bool
        Show images of `valid` with their best matches, before and after training.
    refresh_every : float
        Seconds between two refreshes of the card during training.
    keep : int or None
        Number of checkpoints of this attempt to keep in the datastore, if it supports deletion.
        None: keep all. A checkpoint of ResNet-50 with AdamW and a moving average takes 470 MB.

    Raises
    ------
    TypeError, ValueError
        An option has another type, or `keep` is below 1.
    """

    def __init__(
        self,
        card_id: str | None = None,
        *,
        pictures: bool = True,
        refresh_every: float = _REFRESH_EVERY,
        keep: int | None = _KEPT,
    ) -> None:
        if card_id is not None:
            check_string("card_id", card_id)
        check_boolean("pictures", pictures)
        check_number("refresh_every", refresh_every, 0)
        if keep is not None:
            check_integer("keep", keep, 1)
        self._card_id, self._pictures = card_id, pictures
        self._refresh_every, self._keep = refresh_every, keep
        self._saved: list[dict[str, Any]] = []
        self._steps: list[dict[str, float | None]] = []
        self._grids: list[Any] = []
        self._note = ""
        self._card: Any = None

    # Events

    def on_train_begin(self, trainer: TrainerLike) -> None:
        """Create the card."""
        self._card = _card(self._card_id)
        self._began, self._refreshed = time.monotonic(), 0.0
        self._first_step = trainer.step_count
        if trainer.step_count:
            self._note = f"resumed from the checkpoint at step {trainer.step_count}"
            trainer.say(self._note)
        if self._card is None:
            return
        self._total = trainer.config.epochs * trainer.steps_per_epoch
        self._bar = ProgressBar(max=self._total, label="steps", value=trainer.step_count)
        self._charts = {name: VegaChart(_spec(name, [])) for name in _CHARTS}
        self._lay_out(trainer)
        self._draw_grid(trainer, "before training")

    def on_step_end(self, trainer: TrainerLike, logs: dict[str, Any]) -> None:
        """Record the step, and refresh the card if enough time has passed."""
        if self._card is None:
            return
        place = logs["step"] / trainer.steps_per_epoch
        self._steps.append(
            {"epoch": place, "loss": logs["train_loss"], "accuracy": logs.get("train_accuracy")}
        )
        if time.monotonic() - self._refreshed >= self._refresh_every:
            self._update(trainer)
            self._refresh()

    def on_epoch_end(self, trainer: TrainerLike, logs: dict[str, Any]) -> None:
        """Update the table and the curves."""
        self._lay_out(trainer)

    def on_checkpoint(self, trainer: TrainerLike, path: str) -> None:
        """Save the checkpoint to the datastore, where a retry of the task finds it."""
        store = current.get("checkpoint")
        if store is None:
            return
        place = {"step": trainer.step_count, "epoch": len(trainer.history.epochs)}
        self._saved.append(store.save(path, name=_NAME, metadata=place))
        while self._keep is not None and len(self._saved) > self._keep:
            _delete(self._saved.pop(0))

    def on_train_end(self, trainer: TrainerLike, history: History) -> None:
        """Show the final table, curves and images."""
        self._note = "finished"
        self._draw_grid(trainer, "after training")
        self._lay_out(trainer)

    def on_train_error(self, trainer: TrainerLike, error: BaseException) -> None:
        """Show on the card why the training stopped."""
        self._note = f"stopped: {type(error).__name__}: {error}"
        self._lay_out(trainer)

    # The card

    def _draw_grid(self, trainer: TrainerLike, title: str) -> None:
        if self._card is None or not self._pictures or trainer.valid_data is None:
            return
        from birdembed.search.index import Index

        some = sample(trainer.valid_data, _SHOWN)
        # At the start the model is unchanged; at the end it has the weights of the best epoch.
        index = Index.build(trainer.given_model, some, show_progress_bar=False)
        if len(index) > 1:
            image = figure_image(lambda: match_grid(index), f"Most similar images, {title}")
            self._grids.append(image)
            self._lay_out(trainer)

    def _lay_out(self, trainer: TrainerLike) -> None:
        """Rebuild the card, because only charts and bars can be updated in place."""
        if self._card is None:
            return
        self._update(trainer)
        self._card.clear()
        self._card.append(Markdown(readable(f"# Fine-tuning {_named(trainer)}")))
        self._card.append(Markdown(readable(self._summary(trainer))))
        self._card.append(self._bar)
        for name, chart in self._charts.items():
            self._card.append(Markdown(f"## {name.capitalize()}"))
            self._card.append(chart)
        if trainer.history.epochs:
            self._card.append(Markdown("## Epochs"))
            self._card.append(_table(trainer.history))
        for image in self._grids:
            self._card.append(image)
        self._refresh()

    def _summary(self, trainer: TrainerLike) -> str:
        config, valid = trainer.config, trainer.valid_data
        parts = [
            f"{len(trainer.train_data)} images of {len(trainer.train_data.class_names)} classes",
            f"{0 if valid is None else len(valid)} for validation",
            f"{config.epochs} epochs, batch {config.batch_size}, {config.optimizer}, "
            f"learning rate {config.lr:.3g}",
        ]
        return "; ".join(parts) + (f".\n\n**{self._note}**" if self._note else ".")

    def _update(self, trainer: TrainerLike) -> None:
        done, spent = trainer.step_count, time.monotonic() - self._began
        ran = done - self._first_step
        text = f"epoch {min(len(trainer.history.epochs) + 1, trainer.config.epochs)}"
        if 0 < ran and done < self._total:
            text += f", about {duration(spent / ran * (self._total - done))} left"
        self._bar.update(done, metadata=text)
        for name, chart in self._charts.items():
            chart.update(_spec(name, self._points(trainer, name)))

    def _points(self, trainer: TrainerLike, name: str) -> list[dict[str, Any]]:
        every = -(-len(self._steps) // _MOST_POINTS) or 1
        points = [
            {"epoch": row["epoch"], "value": row[name], "series": "step"}
            for row in self._steps[::every]
        ]
        for key, series in _CHARTS[name]:
            points += [
                {"epoch": logs["epoch"], "value": logs[key], "series": series}
                for logs in trainer.history.epochs
                if logs.get(key) is not None
            ]
        return points

    def _refresh(self) -> None:
        self._refreshed = time.monotonic()
        self._card.refresh()


def _card(card_id: str | None) -> Any:
    cards = current.get("card")
    if cards is None or card_id is None:
        return cards
    return cards[card_id]


def _named(trainer: TrainerLike) -> str:
    return f"{trainer.given_model.architecture} from {trainer.source}"


def _table(history: History) -> Any:
    keys = [key for key in _COLUMNS if key in history.epochs[-1]]
    rows = [[_shown(logs.get(key)) for key in keys] for logs in history.epochs]
    return Table(rows, headers=[_COLUMNS[key] for key in keys])


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _spec(name: str, points: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a Vega-Lite chart: steps as thin lines, epochs with dots."""
    series = ["step", *(series for _, series in _CHARTS[name])]
    color = {
        "field": "series",
        "type": "nominal",
        "scale": {
            "domain": series,
            "range": ["#c8c8c8", "#1f77b4", "#d62728", "#2ca02c", "#9467bd"],
        },
        "title": None,
    }
    shared = {
        "x": {
            "field": "epoch",
            "type": "quantitative",
            "title": "epoch",
            "axis": {"tickMinStep": 1, "format": "d"},
        },
        "y": {"field": "value", "type": "quantitative", "title": name, "scale": {"zero": False}},
        "color": color,
    }
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "height": 260,
        "data": {"values": points},
        "layer": [
            {
                "transform": [{"filter": "datum.series == 'step'"}],
                "mark": {"type": "line", "strokeWidth": 1},
                "encoding": shared,
            },
            {
                "transform": [{"filter": "datum.series != 'step'"}],
                "mark": {"type": "line", "point": True},
                "encoding": shared,
            },
        ],
    }


def figure_image(draw: Callable[[], Any], label: str) -> Any:
    """Return a matplotlib figure as an image for a card, or a line of text without matplotlib.

    Parameters
    ----------
    draw : callable
        Returns the figure.
    label : str
        Caption.

    Returns
    -------
    metaflow.cards.Image or metaflow.cards.Markdown
    """
    if without_matplotlib():
        return Markdown(f"*{label}: matplotlib is not installed*")
    return Image(png(draw()), label)


# Checkpoints


def _delete(reference: dict[str, Any]) -> None:
    """Delete a checkpoint from the datastore; the extension has no public function for it."""
    with contextlib.suppress(Exception):  # if it fails, the checkpoint only takes space
        import importlib

        names = ("datastructures", "checkpoints.checkpoint_storage", "datastore.task_utils")
        datastructures, storage, tasks = (
            importlib.import_module(f"{_EXTENSION}.{name}") for name in names
        )
        artifact = datastructures.CheckpointArtifact.hydrate(reference)
        store = storage.CheckpointDatastore.init_delete_store(
            tasks.init_datastorage_object(), artifact
        )
        store.delete(artifact)


# Collections


def shard_files(
    folder: str | os.PathLike[str], per_shard: int, most: int | None = None
) -> list[list[str]]:
    """Return the images below a folder, split into shards for a foreach.

    Parameters
    ----------
    folder : str or Path
    per_shard : int
        Number of images per shard.
    most : int, optional
        Maximum number of shards; shards get larger if there would be more.

    Returns
    -------
    list of list of str
        Paths relative to the folder, with "/" as separator, sorted by name.

    Raises
    ------
    ValueError
        The folder has no images, or `per_shard` or `most` is below 1.
    FileNotFoundError, NotADirectoryError
        The folder does not exist, or is not a folder.
    """
    from birdembed.images.files import folder_of_images

    check_integer("per_shard", per_shard, 1)
    if most is not None:
        check_integer("most", most, 1)
    names = folder_of_images(folder).whole().names
    size = max(per_shard, 0 if most is None else -(-len(names) // most))
    return [names[start : start + size] for start in range(0, len(names), size)]
