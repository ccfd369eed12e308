"""The training loop."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from birdembed.model.snapshot import Snapshot
from birdembed.model.stateful import set_snapshot, snapshot_of
from birdembed.training.checkpoint import (
    has_checkpoint,
    prepared_folder,
    read_best,
    sweep_folder,
    take_folder,
    write_best,
)
from birdembed.training.diverged import Diverged
from birdembed.training.engine import StepResult
from birdembed.training.history import History
from birdembed.training.metric_values import make_plain
from birdembed.training.progress import epoch_row, seconds_left
from birdembed.training.resume import save
from birdembed.training.run import Position, Run
from birdembed.training.validation import validate


class Loop:
    """Trains a run until the last epoch.

    Parameters
    ----------
    run : Run
    tell : callable
        ``tell(event, *arguments)`` calls the callbacks; it returns False if one stops the training.

    Notes
    -----
    Only the step count of the core is reliable: Ctrl-C can interrupt between any two lines here.
    """

    def __init__(self, run: Run, tell: Callable[..., bool]) -> None:
        self._run = run
        self._tell = tell
        self._config = run.config
        self._report = run.report
        self._ended = False
        self._saved = -1  # step of the last checkpoint
        self._unwritable = False  # writing to the folder of checkpoints has failed

    def train(self) -> None:
        """Train; the caller holds the lock of the model."""
        path = self._config.checkpoint_dir
        if path is None:
            self._guarded()
            return
        with prepared_folder(path):
            lock = take_folder(path)
            try:
                sweep_folder(path)
                self._guarded()
            finally:
                os.close(lock)

    def _guarded(self) -> None:
        """Train; after an error, keep as much of the work as possible."""
        before = snapshot_of(self._run.model)
        try:
            self._train()
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

    def _train(self) -> None:
        run, cfg = self._run, self._config
        path = cfg.checkpoint_dir
        run.publish_base()
        if path is not None and run.step_count == 0 and has_checkpoint(path):
            self._report.say(
                f"{path} has a checkpoint of an earlier run, which will be replaced; "
                "use resume=True to continue that run"
            )
        run.read_images()
        run.ready()
        now = snapshot_of(run.model)
        if cfg.eval_size is not None and cfg.eval_size != now.preprocess.size:
            sized = replace(now.preprocess, size=cfg.eval_size)
            set_snapshot(run.model, replace(now, preprocess=sized))
        go = self._tell("on_train_begin")
        if not run.step_count:
            run.begin()
        while go and not self._complete():
            go = self._epoch()
        self._end()

    def _complete(self) -> bool:
        run, patience = self._run, self._config.patience
        if run.position.epoch >= self._config.epochs:
            return True
        if patience is None or run.valid_data is None or not run.history.epochs:
            return False
        return run.position.epoch - run.history.best["epoch"] >= patience

    def _epoch(self) -> bool:
        """Train the rest of an epoch; return False if the training should stop."""
        run, cfg, at = self._run, self._config, self._run.position
        engine, batches = run.ready(), run.batches
        done = engine.steps - at.epoch_start
        total = batches.steps_per_epoch * cfg.batch_size
        title = f"epoch {at.epoch + 1}/{cfg.epochs}"
        self._report.start(title, min(total, max(len(run.train_data), at.images)), at.images)
        source = batches.epoch(
            at.epoch,
            run.size_at(at.epoch),
            start_step=min(done * cfg.accumulate, batches.steps_per_epoch),
        )
        clock = time.perf_counter()
        for group in _grouped(source, cfg.accumulate):
            factor = run.factor(engine.steps)
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
        run, at = self._run, self._run.position
        at.loss += result.loss * result.images
        at.right += result.right
        at.images += result.images
        at.labelled += result.labelled
        at.seconds += seconds
        logs = {
            "epoch": at.epoch + 1,
            "step": run.step_count,
            "train_loss": result.loss,
            **result.accuracy,
            "lr": self._config.lr * factor,
            "seconds": seconds,
            "images_per_second": result.images / max(seconds, 1e-9),
        }
        shown = {"acc": at.right / at.labelled} if at.labelled else {}
        self._report.update(result.images, loss=at.loss / at.images, **shown)
        return self._tell("on_step_end", logs)

    def _epoch_end(self) -> bool:
        """Validate, update the best epoch and record it; can be repeated after an interruption."""
        run, cfg, at = self._run, self._config, self._run.position
        began, history = time.perf_counter(), run.history
        if not at.images:
            raise ValueError("none of the images of train could be read in this epoch")
        logs: dict[str, Any] = {
            "epoch": at.epoch + 1,
            "step": run.step_count,
            "train_loss": at.loss / at.images,
        }
        if at.labelled:
            logs["train_accuracy"] = at.right / at.labelled
        snapshot = None
        if run.valid_data is not None:
            snapshot = run.snapshot()
            logs |= validate(run, snapshot)
        logs["lr"] = cfg.lr * run.factor(run.step_count - 1)
        afterwards = time.perf_counter() - began
        logs["seconds"] = at.seconds + afterwards
        logs["images_per_second"] = at.images / max(at.seconds, 1e-9)
        epochs = [*history.epochs[: at.epoch], logs]
        if snapshot is not None and History(epochs, cfg.monitor).best == logs:
            self._keep_best(replace(snapshot, training=run.record(logs)))
        history.epochs[:] = epochs
        run.position = Position(at.epoch + 1, run.step_count)
        sizes = [run.size_at(epoch) for epoch in range(at.epoch, cfg.epochs)]
        left = seconds_left(sizes, at.seconds, afterwards)
        self._report.row(*epoch_row(logs, cfg.epochs, left))
        go = self._tell_epoch(logs)
        if not cfg.checkpoint_every:
            go = self._checkpoint() and go
        return go

    def _tell_epoch(self, logs: dict[str, Any]) -> bool:
        """Call the callbacks with an epoch; what they add is stored, so it must fit into JSON."""
        measured = dict(logs)
        try:
            go = self._tell("on_epoch_end", logs)
        finally:
            # After an error too: the checkpoint that is then written has these values.
            wrong = make_plain(logs, measured)
        if wrong:
            raise TypeError(f"on_epoch_end: a callback set {'; '.join(wrong)}")
        return go

    def _keep_best(self, snapshot: Snapshot) -> None:
        self._run.best = snapshot
        if self._config.checkpoint_dir is not None:
            with self._writing():
                write_best(self._config.checkpoint_dir, snapshot.pretrained())

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Remember an `OSError` of the block: nothing more can be written to the folder."""
        try:
            yield
        except OSError:
            self._unwritable = True
            raise

    def _end(self) -> None:
        """Give the model its final weights."""
        run, best = self._run, self._run.history.best
        snapshot = None
        if run.valid_data is not None and best and best["step"] != run.step_count:
            snapshot = run.best or self._best_of_folder(best)
            if snapshot is None:
                self._report.warn(
                    f"the weights of the best epoch, {best['epoch']}, no longer exist; the model "
                    "has the weights of the last step"
                )
        if snapshot is not None:  # taken before the callbacks added their values
            snapshot = replace(snapshot, training={**snapshot.training, "best": dict(best)})
        run.publish(run.snapshot() if snapshot is None else snapshot)
        self._ended = True
        if self._saved != run.step_count:
            self._checkpoint()
        self._tell("on_train_end", run.history)

    def _best_of_folder(self, best: dict[str, Any]) -> Snapshot | None:
        if self._config.checkpoint_dir is None:
            return None
        given = read_best(self._config.checkpoint_dir, best["epoch"])
        return None if given is None else Snapshot.of(given)

    def _checkpoint(self) -> bool:
        """Write a checkpoint if there is a folder; return False if a callback wants to stop."""
        path = self._config.checkpoint_dir
        if path is None:
            return True
        with self._writing():
            save(self._run, path)
        self._saved = self._run.step_count
        return self._tell("on_checkpoint", path)

    def _interrupted(self, before: Snapshot) -> None:
        """Write a checkpoint after Ctrl-C, and print how to resume."""
        run, path = self._run, self._config.checkpoint_dir
        if self._ended:
            return
        if not run.step_count:
            set_snapshot(run.model, before)
            self._report.warn("interrupted before the first step; the model has not changed")
            return
        if not self._published(before):
            return
        text = f"interrupted; the model has the weights of step {run.step_count}"
        if path is None:
            text += "; to be able to resume, train with checkpoint_dir="
        else:
            text += self._saved_or_not(
                f"; continue with fine_tune(..., checkpoint_dir={path!r}, resume=True)"
            )
        self._report.warn(text)

    def _failed(self, error: BaseException, before: Snapshot) -> None:
        """Write a checkpoint after an error, unless the error came from writing one."""
        run, path = self._run, self._config.checkpoint_dir
        if self._ended:
            return
        if isinstance(error, Diverged) or not run.step_count:
            set_snapshot(run.model, before)
            return
        if not self._published(before):
            return
        text = f"stopped by an error; the model has the weights of step {run.step_count}"
        if path is not None and not self._unwritable:
            text += self._saved_or_not(f"; a checkpoint is in {path}")
        self._report.warn(text)

    def _published(self, before: Snapshot) -> bool:
        """Give the model the current weights or, if these are not finite, the previous ones."""
        try:
            self._run.publish(self._run.snapshot())
        except Diverged as error:
            set_snapshot(self._run.model, before)
            self._report.warn(f"{error}; the model has not changed")
            return False
        return True

    def _tell_error(self, error: BaseException) -> None:
        """Call the callbacks with an error; an error in a callback must not hide it."""
        try:
            self._tell("on_train_error", error)
        except Exception as another:
            self._report.warn(f"a callback also failed: {type(another).__name__}: {another}")

    def _saved_or_not(self, text: str) -> str:
        path = self._config.checkpoint_dir
        assert path is not None
        try:
            if self._saved != self._run.step_count:
                self._report.say(f"writing the checkpoint of step {self._run.step_count}")
                save(self._run, path)
        except (OSError, Diverged) as error:
            return f"; the checkpoint could not be written: {error}"
        return text


def _grouped(batches: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(batches)
    while group := list(itertools.islice(iterator, size)):
        yield group
