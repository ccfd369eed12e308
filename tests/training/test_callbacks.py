"""What counts as a callback, and what stops a training."""

import json
from decimal import Decimal

import numpy as np
import pytest

from birdembed.training import loop
from birdembed.training.callbacks import Callback, Callbacks
from birdembed.training.fine_tune import fine_tune
from birdembed.training.trainer import Trainer
from tests.support.small_training import EASY, interrupt, new_model


def test_callbacks_take_objects_and_functions_and_only_false_stops():
    heard = []

    class Own(Callback):
        def on_step_end(self, trainer, logs):
            heard.append(("step", logs["step"]))
            return 0

    class Alike:
        def on_epoch_end(self, trainer, logs):
            heard.append(("epoch", logs["epoch"]))

    told = Callbacks([Own(), Alike(), lambda trainer, logs: logs["epoch"] < 2])
    assert told.tell("on_step_end", None, {"step": 1})
    assert told.tell("on_epoch_end", None, {"epoch": 1})
    assert not told.tell("on_epoch_end", None, {"epoch": 2})
    assert heard == [("step", 1), ("epoch", 1), ("epoch", 2)]
    with pytest.raises(TypeError, match="an instance of it"):
        Callbacks([Own])
    with pytest.raises(TypeError, match="callback must be"):
        Callbacks([3])


NUMPY = {
    "f1": np.float32(0.5),
    "long": np.longdouble(0.25),
    "count": np.uint8(3),
    "good": np.bool_(True),
    "per_class": np.array([0.5, np.nan], np.float16),
    "lost": float("nan"),
    "note": {"text": np.str_("fine"), "sizes": (96, np.int64(128))},
    "train_loss": np.float32(0.75),
}
PLAIN = {
    "f1": 0.5,
    "long": 0.25,
    "count": 3,
    "good": True,
    "per_class": [0.5, None],
    "lost": None,
    "note": {"text": "fine", "sizes": [96, 128]},
    "train_loss": 0.75,
}


def strict(path):
    """Read JSON that has no NaN."""
    return json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(word))


@pytest.mark.usefixtures("small_core")
def test_values_that_a_callback_adds_are_stored(train, valid, tmp_path):
    model = new_model()
    history = fine_tune(
        model,
        train,
        valid,
        1,
        callbacks=lambda trainer, logs: logs.update(NUMPY),
        checkpoint_dir=tmp_path / "c",
        **EASY,
    )
    assert {name: history.epochs[0][name] for name in PLAIN} == PLAIN
    model.save_pretrained(tmp_path / "m")
    last = strict(tmp_path / "c/last.json")["history"][0]
    best = strict(tmp_path / "m/config.json")["birdembed"]["training"]["best"]
    assert last == history.epochs[0]
    assert {name: best[name] for name in PLAIN} == PLAIN
    assert Trainer.resume(tmp_path / "c", train, valid).history.epochs == history.epochs


@pytest.mark.usefixtures("small_core")
def test_values_of_the_best_epoch_are_in_the_record(train, valid, monkeypatch):
    losses, measure = iter([1.0, 2.0, 3.0]), loop.validate
    monkeypatch.setattr(
        loop, "validate", lambda *args: measure(*args) | {"valid_loss": next(losses)}
    )
    model = new_model()
    add = {"callbacks": lambda trainer, logs: logs.update(f1=np.float32(logs["epoch"] / 4))}
    history = fine_tune(model, train, valid, 3, monitor="loss", **add, **EASY)
    assert model._current.training["best"] == history.epochs[0]
    assert history.epochs[0]["f1"] == 0.25


@pytest.mark.usefixtures("small_core")
@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"f1": Decimal("0.5")}, "'f1': expected numbers, text, lists or dicts, got <Decimal>"),
        ({"f1": [1j]}, "'f1': expected numbers"),
        ({"train_loss": "low"}, "'train_loss': expected a number, got 'low'"),
        ({(1, 2): 0.5}, "keys must be text"),
    ],
)
def test_other_values_are_refused_by_name_and_the_work_is_kept(train, tmp_path, given, text):
    with pytest.raises(TypeError, match="on_epoch_end: a callback set .*" + text):
        fine_tune(
            new_model(),
            train,
            None,
            1,
            callbacks=lambda trainer, logs: logs.update(given),
            checkpoint_dir=tmp_path,
            **EASY,
        )
    logs = Trainer.resume(tmp_path, train).history.epochs[0]
    assert logs["step"] == 6
    assert "f1" not in logs
    assert logs["train_loss"] > 0


@pytest.mark.usefixtures("small_core")
def test_values_added_before_ctrl_c_are_stored(train, tmp_path):
    def add_and_stop(trainer, logs):
        logs.update(NUMPY, bad=object())
        interrupt()

    with pytest.raises(KeyboardInterrupt):
        fine_tune(
            new_model(), train, None, 1, callbacks=add_and_stop, checkpoint_dir=tmp_path, **EASY
        )
    logs = Trainer.resume(tmp_path, train).history.epochs[0]
    assert {name: logs[name] for name in PLAIN} == PLAIN
    assert "bad" not in logs
