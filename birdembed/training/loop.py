"""The training loop."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from birdembed.model.snapshot import Snapshot
from birdembed.training.checkpoint import (
    has_checkpoint,
    prepare_folder,
    read_best,
    sweep_folder,
    take_folder,
    write_best,
)
from birdembed.training.engine import Diverged, StepResult
from birdembed.training.history import History
from birdembed.training.progress import epoch_line, seconds_left

if TYPE_CHECKING:
    from birdembed.training.trainer import Trainer


@dataclass
class Position:
    """Where a training stands: complete epochs, and the sums of the present one."""

    epoch: int = 0
    epoch_start: int = 0  # step of the optimizer at which the present epoch began
    loss: float = 0.0
    right: int = 0
    images: int = 0
    seconds: float = 0.0


class Loop:
    """Runs a trainer until its last epoch.

    The core's count of steps is the truth about where the run stands: Ctrl-C may fall between
    any two lines here.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._config = trainer.config
        self._report = trainer._report
        self._ended = False
        self._saved = -1  # step of the last checkpoint

    def run(self) -> None:
        """Train; the caller holds the model's lock."""
        before, path = self._trainer._model._current, self._config.checkpoint_dir
        lock = None
        if path is not None:
            prepare_folder(path)
            lock = take_folder(path)
            sweep_folder(path)
        try:
            self._run()
        except KeyboardInterrupt as error:
            self._interrupted(before)
            self._tell_error(error)
            raise
        except BaseException as error:
            self._failed(error, before)
            self._tell_error(error)
            raise
        finally:
            self._report.close()
            if lock is not None:
                os.close(lock)

    def _run(self) -> None:
        trainer, cfg = self._trainer, self._config
        path = cfg.checkpoint_dir
        if path is not None and trainer.step_count == 0 and has_checkpoint(path):
            self._report.say(
                f"{path} holds the checkpoint of an earlier run, which this one replaces; "
                "resume=True would go on with it"
            )
        trainer._read_images()
        trainer._ready()
        now = trainer._model._current
        if cfg.eval_size is not None and cfg.eval_size != now.preprocess.size:
            sized = replace(now.preprocess, size=cfg.eval_size)
            trainer._model._current = replace(now, preprocess=sized)
        go = trainer._callbacks.tell("on_train_begin", trainer)
        if not trainer.step_count:
            trainer._train_head()
        while go and not self._complete():
            go = self._epoch()
        self._end()

    def _complete(self) -> bool:
        trainer, patience = self._trainer, self._config.patience
        if trainer._at.epoch >= self._config.epochs:
            return True
        if patience is None or trainer.valid_data is None or not trainer.history.epochs:
            return False
        return trainer._at.epoch - trainer.history.best["epoch"] >= patience

    def _epoch(self) -> bool:
        """Train what is left of an epoch; False where the training is to stop."""
        trainer, cfg, at = self._trainer, self._config, self._trainer._at
        engine, batches = trainer._ready(), trainer._batches
        done = engine.steps - at.epoch_start
        total = batches.steps_per_epoch * cfg.batch_size
        title = f"epoch {at.epoch + 1}/{cfg.epochs}"
        self._report.start(title, min(total, max(len(trainer.train_data), at.images)), at.images)
        source = batches.epoch(
            at.epoch,
            cfg.size_at(at.epoch, trainer._base_size),
            start_step=min(done * cfg.accumulate, batches.steps_per_epoch),
        )
        clock = time.perf_counter()
        for group in _grouped(source, cfg.accumulate):
            group = [batch for batch in group if len(batch.labels)]
            if not group:
                at.epoch_start -= 1  # nothing to read there: its place passes all the same
                continue
            factor = trainer._factor(engine.steps)
            result = engine.step(group, factor)
            now = time.perf_counter()
            seconds, clock = now - clock, now
            go = self._stepped(result, factor, seconds)
            if cfg.checkpoint_every and engine.steps % cfg.checkpoint_every == 0:
                go = self._checkpoint() and go
            if not go:
                return False
            clock = time.perf_counter()
        self._report.close()
        return self._epoch_end()

    def _stepped(self, result: StepResult, factor: float, seconds: float) -> bool:
        trainer, at = self._trainer, self._trainer._at
        at.loss += result.loss * result.images
        at.right += result.right
        at.images += result.images
        at.seconds += seconds
        logs = {
            "epoch": at.epoch + 1,
            "step": trainer.step_count,
            "train_loss": result.loss,
            "train_accuracy": result.right / result.images,
            "lr": self._config.lr * factor,
            "seconds": seconds,
            "images_per_second": result.images / max(seconds, 1e-9),
        }
        self._report.update(result.images, loss=at.loss / at.images, accuracy=at.right / at.images)
        return trainer._callbacks.tell("on_step_end", trainer, logs)

    def _epoch_end(self) -> bool:
        """Measure, choose the best, write down. Safe to do again after an interruption."""
        trainer, cfg, at = self._trainer, self._config, self._trainer._at
        began, history = time.perf_counter(), trainer.history
        if not at.images:
            raise ValueError("no image of train was read in a whole epoch")
        logs: dict[str, Any] = {
            "epoch": at.epoch + 1,
            "step": trainer.step_count,
            "train_loss": at.loss / at.images,
            "train_accuracy": at.right / at.images,
        }
        snapshot = None
        if trainer.valid_data is not None:
            snapshot = trainer._snapshot()
            logs |= trainer._validated(snapshot)
        logs["lr"] = cfg.lr * trainer._factor(trainer.step_count - 1)
        afterwards = time.perf_counter() - began
        logs["seconds"] = at.seconds + afterwards
        logs["images_per_second"] = at.images / max(at.seconds, 1e-9)
        epochs = [*history.epochs[: at.epoch], logs]
        if snapshot is not None and History(epochs, cfg.monitor).best == logs:
            self._keep_best(replace(snapshot, training=trainer._record(logs)))
        history.epochs[:] = epochs
        trainer._at = Position(at.epoch + 1, trainer.step_count)
        sizes = [cfg.size_at(epoch, trainer._base_size) for epoch in range(at.epoch, cfg.epochs)]
        left = seconds_left(sizes, at.seconds, afterwards)
        self._report.say(epoch_line(logs, cfg.epochs, left))
        go = trainer._callbacks.tell("on_epoch_end", trainer, logs)
        if not cfg.checkpoint_every:
            go = self._checkpoint() and go
        return go

    def _keep_best(self, snapshot: Snapshot) -> None:
        self._trainer._best = snapshot
        if self._config.checkpoint_dir is not None:
            write_best(self._config.checkpoint_dir, snapshot.pretrained())

    def _end(self) -> None:
        """Give the model its final weights."""
        trainer, best = self._trainer, self._trainer.history.best
        snapshot = None
        if trainer.valid_data is not None and best and best["step"] != trainer.step_count:
            snapshot = trainer._best or self._best_of_folder(best)
            if snapshot is None:
                self._report.warn(
                    f"the weights of the best epoch, {best['epoch']}, are no longer there: the "
                    "model has those of the last step"
                )
        trainer._publish(trainer._snapshot() if snapshot is None else snapshot)
        self._ended = True
        if self._saved != trainer.step_count:
            self._checkpoint()
        trainer._callbacks.tell("on_train_end", trainer, trainer.history)

    def _best_of_folder(self, best: dict[str, Any]) -> Snapshot | None:
        if self._config.checkpoint_dir is None:
            return None
        given = read_best(self._config.checkpoint_dir, best["epoch"])
        return None if given is None else Snapshot.of(given)

    def _checkpoint(self) -> bool:
        """Write one where there is a folder; False where a callback wants to stop."""
        path = self._config.checkpoint_dir
        if path is None:
            return True
        self._trainer.save_checkpoint(path)
        self._saved = self._trainer.step_count
        return self._trainer._callbacks.tell("on_checkpoint", self._trainer, path)

    def _interrupted(self, before: Snapshot) -> None:
        """After Ctrl-C: keep what was done, and say how to go on."""
        trainer, path = self._trainer, self._config.checkpoint_dir
        if self._ended:
            return
        if not trainer.step_count:
            trainer._model._current = before
            self._report.warn("interrupted before the first step; the model is as it was")
            return
        trainer._publish(trainer._snapshot())
        text = f"interrupted after step {trainer.step_count}, whose weights the model has"
        if path is None:
            text += "; a run with checkpoint_dir= can be resumed"
        else:
            text += self._saved_or_not(
                f"; fine_tune(..., checkpoint_dir={path!r}, resume=True) goes on from there"
            )
        self._report.warn(text)

    def _failed(self, error: BaseException, before: Snapshot) -> None:
        """After an error: keep what was done, unless that is what went wrong."""
        trainer, path = self._trainer, self._config.checkpoint_dir
        if self._ended:
            return
        if isinstance(error, Diverged) or not trainer.step_count:
            trainer._model._current = before
            return
        trainer._publish(trainer._snapshot())
        text = f"stopped by an error after step {trainer.step_count}, whose weights the model has"
        if path is not None and not isinstance(error, OSError):
            text += self._saved_or_not(f"; {path} has a checkpoint of it")
        self._report.warn(text)

    def _tell_error(self, error: BaseException) -> None:
        """Tell the callbacks; what goes wrong in one of them must not hide the error itself."""
        trainer = self._trainer
        try:
            trainer._callbacks.tell("on_train_error", trainer, error)
        except Exception as another:
            self._report.warn(f"a callback failed as well: {type(another).__name__}: {another}")

    def _saved_or_not(self, text: str) -> str:
        path = self._config.checkpoint_dir
        assert path is not None
        try:
            if self._saved != self._trainer.step_count:
                self._report.say(f"writing the checkpoint of step {self._trainer.step_count}")
                self._trainer.save_checkpoint(path)
        except OSError as error:
            return f"; no checkpoint of it could be written: {error}"
        return text


def _grouped(batches: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(batches)
    while group := list(itertools.islice(iterator, size)):
        yield group
