"""Log a training to MLflow."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import time
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import Metric, Param

from birdembed._version import __version__
from birdembed.base.checks import check_boolean
from birdembed.integrations._training_plots import plots_of, without_matplotlib
from birdembed.training.callbacks import Callback, TrainerLike
from birdembed.training.checkpoint import BEST, LAST

if TYPE_CHECKING:
    from birdembed.training.history import History

log = logging.getLogger("birdembed")
_FLUSH_EVERY = 5.0  # seconds between two requests with step values
_MOST_METRICS = 1000  # per request, a limit of the server
_MOST_PARAMS = 100
_LONGEST = 6000  # characters of a parameter
#: Step values to log under ``step/``.
_OF_STEP = ("train_loss", "train_accuracy", "lr", "images_per_second")
_CHECKPOINTS = "checkpoints"
_PLOTS = "plots"


class MlflowCallback(Callback):
    """Training callback that logs to MLflow.

    Epoch values are logged as metrics with the keys of `History` and the epoch (from 1) as step.
    Values of single steps are logged under ``step/``. All training options are logged as
    parameters.

    Parameters
    ----------
    run_id : str, optional
        Run to log to; it is not ended. Default: the active run, or else a new run, which ends with
        the training as finished, failed, or (after Ctrl-C) killed.
    run_name, tags : optional
        Name and tags of a new run.
    checkpoints : bool
        Log the last checkpoint under ``checkpoints``, if the training has a `checkpoint_dir`. To
        resume elsewhere, download that folder and call `fine_tune(..., resume=True)`.
    plots : bool
        Log plots under ``plots/*.png``: curves after each epoch and, at the end, plots of `valid`.
    log_model : bool
        Log the finished model.
    model_name : str
        Name of the logged model.
    registered_model_name, alias : str, optional
        Also register the model, see `log_model`.
    **model_options
        Passed to `log_model`, such as `pip_requirements`.

    Raises
    ------
    ValueError
        `alias` is given without `registered_model_name`.

    Notes
    -----
    If the tracking server does not respond during training, a warning is logged and the values
    are sent again later. At the end of training it is an error, but the model is trained.
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
            raise ValueError("alias needs registered_model_name=; pass the name of the model")
        self._given, self._run_name, self._tags = run_id, run_name, dict(tags or {})
        self._checkpoints = check_boolean("checkpoints", checkpoints)
        self._plots = check_boolean("plots", plots)
        self._log_model = check_boolean("log_model", log_model)
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
        """Find or start the run, and log the options."""
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
        """Log a step; the steps of a few seconds are sent in one request."""
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
        """Log the checkpoint, replacing the previous one."""
        if self._checkpoints:
            with _warned("the checkpoint"):
                self._upload(Path(path))

    def on_train_end(self, trainer: TrainerLike, history: History) -> None:
        """Log the remaining values, the plots and the model, and end the run if it is new."""
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
        """Log the remaining values, and end a new run as failed or (after Ctrl-C) killed."""
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
        del values["checkpoint_dir"]  # a local path
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
        if differ:  # MLflow parameters cannot change, but a resumed run may have more epochs
            log.warning("mlflow: the run keeps its first %s", ", ".join(differ))
        params = [Param(name, text) for name, text in texts.items() if name not in there]
        for start in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self.run_id, params=params[start : start + _MOST_PARAMS])
        self._client.set_tag(self.run_id, "birdembed.version", __version__)

    # Metrics

    def _log_earlier(self, trainer: TrainerLike) -> None:
        """Log the epochs of a resumed training that are not in the run yet."""
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
            if isinstance(value, Real) and math.isfinite(value):  # a callback may add other values
                self._waiting.append(Metric(prefix + name, float(value), now, int(step)))

    def _send(self) -> None:
        while self._waiting:
            part = self._waiting[:_MOST_METRICS]
            self._client.log_batch(self.run_id, metrics=part)
            del self._waiting[: len(part)]
        self._sent_at = time.monotonic()

    def _send_or_warn(self) -> bool:
        with _warned("values (they will be sent later)"):
            self._send()
            return True
        self._sent_at = time.monotonic()
        return False

    # Files

    def _upload(self, folder: Path) -> None:
        """Upload a checkpoint folder so that a complete checkpoint exists at any time.

        Uploads the arrays first, then `last.json`, which refers to them, then deletes the old
        arrays.
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
            with contextlib.suppress(Exception):  # some stores cannot delete files
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
    """Log an error of the tracking server as a warning, so that training continues."""
    try:
        yield
    except (mlflow.exceptions.MlflowException, OSError) as error:
        log.warning("mlflow: could not log %s: %s", what, error)
