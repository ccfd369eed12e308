"""Log a training to MLflow."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import Metric, Param

from birdembed._version import __version__
from birdembed.integrations._training_plots import plots_of, without_matplotlib
from birdembed.training.callbacks import Callback, TrainerLike
from birdembed.training.checkpoint import BEST, LAST

if TYPE_CHECKING:
    from birdembed.training.history import History

log = logging.getLogger("birdembed")
_FLUSH_EVERY = 5.0  # seconds between two requests with values of steps
_MOST_METRICS = 1000  # of a request: the server's limit
_MOST_PARAMS = 100
_LONGEST = 6000  # characters of a parameter
#: Values of a step that are logged, under ``step/``.
_OF_STEP = ("train_loss", "train_accuracy", "lr", "images_per_second")
_CHECKPOINTS = "checkpoints"
_PLOTS = "plots"


class MlflowCallback(Callback):
    """A training callback that logs to MLflow.

    Epoch values are metrics under History's own keys, with the epoch (from 1) as their step; values
    of single steps are under ``step/``, with the number of the step. All options of the training
    are parameters.

    Parameters
    ----------
    run_id : str, optional
        The run to log to, which is left open. Default: the active run, or else a new one that ends
        with the training: finished, failed, or killed after Ctrl-C.
    run_name, tags : optional
        Of a new run.
    checkpoints : bool
        Keep the last checkpoint under ``checkpoints``, where the training has a `checkpoint_dir`:
        download that folder and `fine_tune(..., resume=True)` goes on from there.
    plots : bool
        Draw the curves after each epoch and, at the end, what `valid` shows: ``plots/*.png``.
    log_model : bool
        Log the finished model.
    model_name : str
        Its name.
    registered_model_name, alias : str, optional
        Register it as well, see `log_model`.
    **model_options
        More for `log_model`, such as `pip_requirements`.

    Raises
    ------
    ValueError
        `alias` without `registered_model_name`.

    Notes
    -----
    A tracking server that does not answer while the model trains costs a warning, and what it
    missed is sent with the next values; at the end it is an error, with the model trained.
    """

    def __init__(
        self,
        *,
        run_id: str | None = None,
        run_name: str | None = None,
        tags: dict[str, Any] | None = None,
        checkpoints: bool = True,
        plots: bool = True,
        log_model: bool = True,
        model_name: str = "model",
        registered_model_name: str | None = None,
        alias: str | None = None,
        **model_options: Any,
    ) -> None:
        if alias is not None and registered_model_name is None:
            raise ValueError("alias needs registered_model_name=, the model whose version it names")
        self._given, self._run_name, self._tags = run_id, run_name, dict(tags or {})
        self._checkpoints, self._plots, self._log_model = checkpoints, plots, log_model
        self._model_options = {
            "name": model_name,
            "registered_model_name": registered_model_name,
            "alias": alias,
            **model_options,
        }
        self.run_id = run_id
        self._own = False
        self._waiting: list[Metric] = []
        self._sent_at = 0.0

    # Events

    def on_train_begin(self, trainer: TrainerLike) -> None:
        """Find or start the run; log the options."""
        self._client = mlflow.MlflowClient()
        active = mlflow.active_run()
        self._own = self._given is None and active is None
        if self._own:
            active = mlflow.start_run(run_name=self._run_name, tags=self._tags)
        self.run_id = self._given or active.info.run_id
        self._waiting.clear()
        self._sent_at = time.monotonic()
        self._log_parameters(trainer)
        self._log_earlier(trainer)

    def on_step_end(self, trainer: TrainerLike, logs: dict[str, Any]) -> None:
        """Log a step, some seconds' steps in one request."""
        self._add(logs, "step/", _OF_STEP, logs["step"])
        if time.monotonic() - self._sent_at >= _FLUSH_EVERY:
            self._send_or_warn()

    def on_epoch_end(self, trainer: TrainerLike, logs: dict[str, Any]) -> None:
        """Log an epoch and the curves so far."""
        self._add_epoch(logs)
        if self._send_or_warn() and self._plots:
            with _warned("the curves"):
                self._figure(trainer.history.plot, "history")

    def on_checkpoint(self, trainer: TrainerLike, path: str) -> None:
        """Log the checkpoint in place of the one before it."""
        if self._checkpoints:
            with _warned("the checkpoint"):
                self._upload(Path(path))

    def on_train_end(self, trainer: TrainerLike, history: History) -> None:
        """Log the rest, the plots and the model, and end the run if it is our own."""
        self._send()
        best = history.best
        if best:
            self._client.set_tag(self.run_id, "birdembed.best_epoch", best["epoch"])
        if self._plots:
            self._log_plots(trainer)
        if self._log_model:
            from birdembed.integrations.mlflow.flavor import log_model

            step = best.get("epoch", 0)
            log_model(trainer.model, run_id=self.run_id, step=step, **self._model_options)
        self._end("FINISHED")

    def on_train_error(self, trainer: TrainerLike, error: BaseException) -> None:
        """Log what is left, and end our own run as failed, or as killed after Ctrl-C."""
        if self.run_id is None:
            return
        self._send_or_warn()
        self._end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")

    def _end(self, status: str) -> None:
        if self._own:
            self._own = False
            with _warned("the end of the run"):
                mlflow.end_run(status)

    # Parameters

    def _log_parameters(self, trainer: TrainerLike) -> None:
        values = trainer.config.to_dict()
        del values["checkpoint_dir"]  # a place on somebody's machine
        values |= {
            "model": trainer.source,
            "architecture": trainer.given_model.architecture,
            "classes": len(trainer.train_data.class_names),
            "train_images": len(trainer.train_data),
            "valid_images": 0 if trainer.valid_data is None else len(trainer.valid_data),
        }
        texts = {name: str(value)[:_LONGEST] for name, value in values.items()}
        there = self._client.get_run(self.run_id).data.params
        differ = [name for name, text in texts.items() if there.get(name, text) != text]
        if differ:  # MLflow's parameters never change; a resumed run may have more epochs
            log.warning("mlflow: the run keeps its first %s", ", ".join(differ))
        params = [Param(name, text) for name, text in texts.items() if name not in there]
        for start in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self.run_id, params=params[start : start + _MOST_PARAMS])
        self._client.set_tag(self.run_id, "birdembed.version", __version__)

    # Metrics

    def _log_earlier(self, trainer: TrainerLike) -> None:
        """Log the epochs of a resumed training that the run does not have yet."""
        if not trainer.history.epochs:
            return
        logged = {m.step for m in self._client.get_metric_history(self.run_id, "train_loss")}
        for logs in trainer.history.epochs:
            if logs["epoch"] not in logged:
                self._add_epoch(logs)
        self._send()

    def _add_epoch(self, logs: dict[str, Any]) -> None:
        self._add(logs, "", [name for name in logs if name != "epoch"], logs["epoch"])

    def _add(self, logs: dict[str, Any], prefix: str, names: Any, step: int) -> None:
        now = int(time.time() * 1000)
        for name in names:
            value = logs.get(name)
            if value is not None and math.isfinite(value):
                self._waiting.append(Metric(prefix + name, float(value), now, int(step)))

    def _send(self) -> None:
        while self._waiting:
            part = self._waiting[:_MOST_METRICS]
            self._client.log_batch(self.run_id, metrics=part)
            del self._waiting[: len(part)]
        self._sent_at = time.monotonic()

    def _send_or_warn(self) -> bool:
        with _warned("values (they are sent later)"):
            self._send()
            return True
        self._sent_at = time.monotonic()
        return False

    # Files

    def _upload(self, folder: Path) -> None:
        """Upload a checkpoint folder so that a whole one is there at every moment.

        The arrays first, then `last.json`, which names them, then the old arrays go.
        """
        file = json.loads((folder / LAST).read_text(encoding="utf-8"))["file"]
        before = {
            os.path.basename(item.path)
            for item in self._client.list_artifacts(self.run_id, _CHECKPOINTS)
        }
        if (folder / BEST).is_dir():
            self._client.log_artifacts(self.run_id, str(folder / BEST), f"{_CHECKPOINTS}/{BEST}")
        for name in (file, LAST):
            self._client.log_artifact(self.run_id, str(folder / name), _CHECKPOINTS)
        old = [name for name in before - {file} if name.startswith("step-")]
        if old:
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            uri = self._client.get_run(self.run_id).info.artifact_uri
            with contextlib.suppress(Exception):  # some stores cannot: then they stay
                for name in old:
                    get_artifact_repository(uri).delete_artifacts(f"{_CHECKPOINTS}/{name}")

    def _figure(self, draw: Any, name: str) -> None:
        if without_matplotlib():
            log.warning("mlflow: no plot %s: matplotlib is not installed", name)
            return
        self._client.log_figure(self.run_id, draw(), f"{_PLOTS}/{name}.png")

    def _log_plots(self, trainer: TrainerLike) -> None:
        if trainer.valid_data is None:
            return
        for name, draw in plots_of(trainer.model, trainer.valid_data).items():
            self._figure(draw, name)


@contextlib.contextmanager
def _warned(what: str) -> Any:
    """Turn an error of the tracking server into a warning: the training is worth more."""
    try:
        yield
    except (mlflow.exceptions.MlflowException, OSError) as error:
        log.warning("mlflow: could not log %s: %s", what, error)
