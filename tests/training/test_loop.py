"""The training loop on a small stand-in for the core: what it promises, and every way it ends."""

import json
import logging
import threading

import numpy as np
import pytest

from birdembed import BirdembedError, ImageFolder
from birdembed.model.model import Model
from birdembed.training import loop
from birdembed.training.callbacks import Callback
from birdembed.training.config import TrainConfig
from birdembed.training.fine_tune import fine_tune
from birdembed.training.losses import SupCon
from birdembed.training.progress import Reporter, epoch_row, seconds_left
from birdembed.training.trainer import Trainer
from tests.support.small_training import EASY, Stop, interrupt, new_model, same, weights
from tests.support.train_data import NAMES, make_folder

pytestmark = pytest.mark.usefixtures("small_core")


# What it does


def test_it_learns_and_tells_how(train, valid):
    model = new_model()
    before = model.fingerprint
    history = fine_tune(model, train, valid, 4, **EASY)
    assert [logs["epoch"] for logs in history.epochs] == [1, 2, 3, 4]
    assert [logs["step"] for logs in history.epochs] == [6, 12, 18, 24]
    wanted = "epoch step train_loss train_accuracy valid_loss valid_accuracy precision_at_1"
    wanted += " map_at_r lr seconds images_per_second"
    assert set(history.epochs[0]) == set(wanted.split())
    assert history.epochs[-1]["train_loss"] < history.epochs[0]["train_loss"]
    assert history.best["valid_accuracy"] > 0.9
    assert model.class_names == list(NAMES)
    assert model.fingerprint != before
    right = [model.predict(p, 1)[0][0] == n for p, n in zip(valid.paths, valid.names, strict=True)]
    assert np.mean(right) == history.best["valid_accuracy"]


def test_without_valid_the_last_epoch_counts(train):
    model = new_model()
    trainer = Trainer(model, train, epochs=2, ema=None, **EASY)
    history = trainer.fit()
    assert "valid_loss" not in history.epochs[0]
    assert history.best is history.epochs[-1]
    core = dict(zip(trainer._run.engine.names, trainer._run.engine.core.parameters(), strict=True))
    assert same(weights(model), core)
    assert trainer.model is model
    with pytest.raises(ValueError, match="with valid="):
        trainer.evaluate()


def test_the_best_epoch_by_monitor_is_what_the_model_ends_with(train, valid, monkeypatch):
    kept, losses = {}, iter([3.0, 1.0, 2.0, 1.0])
    measure = loop.validate
    monkeypatch.setattr(
        loop, "validate", lambda *args: measure(*args) | {"valid_loss": next(losses)}
    )
    trainer = Trainer(
        new_model(),
        train,
        valid,
        epochs=4,
        monitor="loss",
        callbacks=lambda trainer, logs: kept.update({logs["epoch"]: weights(trainer.model)}),
        **EASY,
    )
    history = trainer.fit()
    assert history.best["epoch"] == 2
    assert same(weights(trainer.model), kept[2])
    assert not same(weights(trainer.model), kept[4])
    assert trainer.model._current.training["best"]["epoch"] == 2


def test_ema_weights_are_validated_and_published(train, valid):
    trainer = Trainer(new_model(), train, valid, epochs=1, ema=0.9, **EASY)
    history = trainer.fit()
    core = trainer._run.engine.core
    names = trainer._run.engine.names
    assert same(weights(trainer.model), dict(zip(names, core.ema(), strict=True)))
    assert not same(weights(trainer.model), dict(zip(names, core.parameters(), strict=True)))
    assert trainer.evaluate() == {k: history.epochs[0][k] for k in trainer.evaluate()}


@pytest.mark.parametrize("ema", [0, 1e-60])
def test_without_an_average_the_model_ends_with_the_weights(train, valid, ema):
    ends = []
    for decay in (None, ema):
        model = new_model()
        fine_tune(model, train, valid, 1, ema=decay, **EASY)
        ends.append(weights(model))
    assert same(*ends)


def test_early_stopping_by_patience(train, valid):
    history = fine_tune(
        new_model(), train, valid, 50, patience=2, **{**EASY, "lr": 1e-9, "head_lr": 1e-9}
    )
    assert len(history) < 50
    assert history.epochs[-1]["epoch"] - history.best["epoch"] == 2


def test_callbacks_hear_everything_in_order_and_can_stop(train, valid, tmp_path):
    heard = []

    class Own(Callback):
        def on_train_begin(self, trainer):
            heard.append("begin")

        def on_step_end(self, trainer, logs):
            heard.append(logs["step"])
            assert {"epoch", "step", "train_loss", "train_accuracy", "lr"} <= set(logs)

        def on_epoch_end(self, trainer, logs):
            heard.append("epoch")
            return logs["epoch"] < 2

        def on_checkpoint(self, trainer, path):
            heard.append("checkpoint")
            assert (tmp_path / "last.json").exists()
            assert path == str(tmp_path)

        def on_train_end(self, trainer, history):
            heard.append("end")
            assert len(history) == 2

    fine_tune(new_model(), train, valid, 9, callbacks=[Own()], checkpoint_dir=tmp_path, **EASY)
    steps = list(range(1, 7)), list(range(7, 13))
    first = ["begin", *steps[0], "epoch", "checkpoint"]
    assert heard == [*first, *steps[1], "epoch", "checkpoint", "end"]


def test_a_callback_stops_after_its_step(train):
    trainer = Trainer(new_model(), train, callbacks=[Stop(4, lambda: False)], **EASY)
    assert len(trainer.fit()) == 0
    assert trainer.step_count == 4
    assert trainer.model.num_classes == 4


def test_on_checkpoint_can_stop(train, tmp_path):
    class Enough(Callback):
        def on_checkpoint(self, trainer, path):
            return np.bool_(False)

    for every, steps in ((None, 6), (2, 2)):
        history = fine_tune(new_model(), train, None, 3, callbacks=Enough(), checkpoint_every=every,
                            checkpoint_dir=tmp_path / str(every), **EASY)  # fmt: skip
        assert len(history) == (1 if every is None else 0), steps


def test_a_misspelled_prefix_shows_before_the_work(train):
    with pytest.raises(ValueError, match=r"freeze: no parameter name starts with 'layr1'"):
        Trainer(new_model(), train, freeze="layr1", **EASY)


def test_a_config_goes_to_the_trainer(train):
    with pytest.raises(TypeError, match="fields of TrainConfig as keyword arguments"):
        fine_tune(new_model(), train, config=TrainConfig())


def test_eval_size_is_set_when_training_starts(train, valid):
    model = new_model()
    trainer = Trainer(model, train, valid, epochs=1, eval_size=128, **{**EASY, "image_size": None})
    assert model.preprocess.size == 96
    sizes = []
    trainer._callbacks = type(trainer._callbacks)(
        [Stop(1, lambda: sizes.append(model.preprocess.size))]
    )
    forward = trainer._run.ready().core.forward
    trainer._run.engine.core.forward = lambda x, t=0: (sizes.append(x.shape[2]), forward(x, t))[1]
    trainer.fit()
    assert sizes[:2] == [96, 128]
    assert model.preprocess.size == 128


# What goes with the weights


def test_a_gallery_of_the_old_weights_goes_and_that_is_said(train, caplog):
    caplog.set_level(logging.INFO, "birdembed")
    model = new_model()
    model.fit_gallery(train)
    fine_tune(model, train, None, 1, **EASY)
    assert (model.gallery, model.threshold) == (None, None)
    assert "removing the gallery and threshold" in caplog.text
    with pytest.raises(ValueError, match="has no gallery"):
        model.identify(train.paths[0])


def test_the_record_goes_with_the_model(train, valid, tmp_path, monkeypatch):
    model = new_model()
    fine_tune(model, train, valid, 1, loss=SupCon(), checkpoint_dir=tmp_path / "c", **EASY)
    record = json.loads(json.dumps(model._current.training))
    assert record["config"]["loss"] == "SupCon(temperature=0.1, weight=0.2)"
    assert record["data"] == {"classes": 4, "train_images": 48, "valid_images": 20}
    assert record["best"]["epoch"] == 1
    assert record["versions"]["birdembed"]
    assert str(tmp_path) not in json.dumps(record)
    model.save_pretrained(tmp_path / "model")
    again = Model.from_pretrained(tmp_path / "model")
    assert again.class_names == list(NAMES)
    assert again._current.training == record
    assert same(weights(again), weights(model))

    fine_tune(again, train, None, 1, **EASY)
    later = again._current.training
    assert later["started_from"] == "model"
    assert later["before"] == record
    assert again.source == "fine-tuned from model"
    assert Trainer(again, train, **EASY)._run.record({})["started_from"] == again.source
    assert str(tmp_path) not in json.dumps(later)
    # Nor a relative path, which would look like a name on the hub.
    monkeypatch.chdir(tmp_path.parent)
    again = Model.from_pretrained(f"{tmp_path.name}/model")
    assert Trainer(again, train, **EASY)._run.record({})["started_from"] == "model"


# What it refuses


def test_data_that_cannot_be_trained_on(train, valid, tmp_path):
    with pytest.raises(TypeError, match="train must be an ImageFolder"):
        Trainer(new_model(), train.paths, **EASY)
    with pytest.raises(ValueError, match="needs at least two"):
        Trainer(new_model(), train.select(["owl"]), **EASY)
    empty = ImageFolder.from_lists(train.paths, train.names, [*NAMES, "dodo"])
    with pytest.raises(ValueError, match="no images of class 'dodo'"):
        Trainer(new_model(), empty, **EASY)
    with pytest.raises(ValueError, match="valid has images of class 'owl', which is not in train"):
        Trainer(new_model(), train.select(["jay", "wren"]), valid.select(["jay", "owl"]), **EASY)
    one_each = valid.select(per_class=1)
    with pytest.raises(ValueError, match="two readable images in valid"):
        Trainer(new_model(), train, one_each, monitor="map_at_r", **EASY)
    with pytest.raises(ValueError, match="patience needs valid="):
        Trainer(new_model(), train, patience=2, **EASY)
    with pytest.raises(TypeError, match="did you mean 'lr'"):
        Trainer(new_model(), train, learning_rate=1)
    with pytest.raises(TypeError, match="model must be a Model"):
        Trainer("sscd", train)


def test_valid_is_matched_by_name(train, valid):
    other = valid.select(["wren", "finch"])
    trainer = Trainer(new_model(), train, other, epochs=3, **EASY)
    assert trainer.fit().best["valid_accuracy"] > 0.8


def test_broken_files(train, valid, tmp_path, caplog):
    data = make_folder(tmp_path / "t", per_class=6)
    (tmp_path / "t/owl/00.bmp").write_bytes(b"no picture")
    broken = ImageFolder(tmp_path / "t")
    with pytest.raises(ValueError, match=r"00\.bmp"):
        fine_tune(new_model(), broken, valid, 1, **EASY)
    with pytest.raises(ValueError, match=r"00\.bmp"):
        fine_tune(new_model(), train, broken, 1, **EASY)
    with pytest.warns(UserWarning, match=r"1 of 24 images cannot be read.*00\.bmp"):
        history = fine_tune(new_model(), broken, broken, 1, on_error="skip", **EASY)
    assert history.epochs[0]["step"] == 3
    assert "valid: 1 images cannot be read" in caplog.text
    for i in range(6):
        (tmp_path / f"t/owl/{i:02d}.bmp").write_bytes(b"no picture")
    model = new_model()
    before = model._current
    with pytest.raises(ValueError, match="class 'owl'"):
        fine_tune(model, broken, valid, 1, on_error="skip", **EASY)
    assert model._current is before
    assert len(data) == 24


def test_two_trainings_of_one_model_at_once(train):
    model = new_model()
    inside, go_on = threading.Event(), threading.Event()

    def wait():
        inside.set()
        assert go_on.wait(20)

    first = threading.Thread(
        target=fine_tune, args=(model, train, None, 1), kwargs={"callbacks": Stop(1, wait), **EASY}
    )
    first.start()
    try:
        assert inside.wait(20)
        with pytest.raises(BirdembedError, match="another call is changing this model"):
            fine_tune(model, train, None, 1, **EASY)
        assert model.encode(train.paths[:2]).shape == (2, 2048)
    finally:
        go_on.set()
        first.join()
    assert model.num_classes == 4


def test_two_trainings_into_one_folder(train, tmp_path):
    first, second = new_model(), new_model()
    before = second._current

    def another():
        with pytest.raises(BirdembedError, match="another training is writing its checkpoints"):
            fine_tune(second, train, None, 1, checkpoint_dir=tmp_path, **EASY)

    fine_tune(first, train, None, 1, callbacks=Stop(1, another), checkpoint_dir=tmp_path, **EASY)
    assert second._current is before
    # With the first one ended, in whatever way, the folder is free.
    fine_tune(second, train, None, 1, checkpoint_dir=tmp_path, **EASY)


def test_ctrl_c_publishes_the_last_whole_step(train, valid, tmp_path, caplog):
    model = new_model()
    with pytest.raises(KeyboardInterrupt):
        fine_tune(
            model,
            train,
            valid,
            3,
            callbacks=Stop(8, interrupt),
            checkpoint_dir=tmp_path,
            ema=None,
            **EASY,
        )
    assert "weights of step 8" in caplog.text
    assert "resume=True" in caplog.text
    saved = Trainer.resume(tmp_path, train, valid)
    assert saved.step_count == 8
    assert same(weights(saved.model), weights(model))
    fresh = new_model()
    before = fresh._current
    trainer = Trainer(fresh, train, callbacks=[Stop(1, lambda: None)], **EASY)
    trainer._run.ready().core.forward = lambda *a: interrupt()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert fresh._current is before


def test_an_error_in_a_callback_keeps_what_was_done(train, tmp_path):
    def fail():
        raise RuntimeError("tracker is down")

    model = new_model()
    with pytest.raises(RuntimeError, match="tracker is down"):
        fine_tune(model, train, None, 2, callbacks=Stop(3, fail), checkpoint_dir=tmp_path, **EASY)
    assert model.num_classes == 4
    assert Trainer.resume(tmp_path, train).step_count == 3


def test_an_unwritable_checkpoint_dir_shows_before_the_work(train, tmp_path):
    (tmp_path / "file").write_text("")
    model = new_model()
    before = model._current
    with pytest.raises(OSError, match="file"):
        fine_tune(model, train, None, 1, checkpoint_dir=tmp_path / "file" / "x", **EASY)
    assert model._current is before
    with pytest.raises(ValueError, match="resume=True needs checkpoint_dir"):
        fine_tune(model, train, None, 1, resume=True)


def test_progress_without_a_terminal_is_lines(train, valid, capsys):
    fine_tune(new_model(), train, valid, 1, show_progress_bar=True, **EASY)
    text = capsys.readouterr().err
    header, row = text.splitlines()[-2:]
    assert header.split()[:3] == ["epoch", "loss", "acc."]
    assert row.split()[0] == "1/1"
    assert "\r" not in text
    fine_tune(new_model(), train, valid, 1, **EASY)
    assert capsys.readouterr().err == ""


LOGS = {
    "epoch": 12,
    "train_loss": 12.34567,
    "train_accuracy": 0.91234,
    "valid_loss": 0.98765,
    "valid_accuracy": 1.0,
    "precision_at_1": 0.5,
    "map_at_r": 0.25,
    "seconds": 3723.4,
}


def test_the_table_of_epochs_fits_a_terminal_and_stands_under_its_header():
    header, row = epoch_row(LOGS, 100, 59.6)
    assert len(header) == len(row) < 80
    assert row.split() == (
        ["12/100", "12.346", "0.912", "0.9877", "1.000", "0.500", "0.250", "1:02:03", "1:00"]
    )
    for title, value in (("valid loss", "0.9877"), ("MAP@R", "0.250"), ("time", "1:02:03")):
        assert header.index(title) + len(title) == row.index(value) + len(value)
    header, row = epoch_row({k: v for k, v in LOGS.items() if "valid" not in k}, 100, 0)
    assert "valid" not in header
    assert len(header) == len(row)


def test_the_header_is_printed_again_after_another_line(capsys):
    report = Reporter(True)
    for _ in range(2):
        report.row("epoch  loss", "    1   0.5")
    report.say("a note")
    report.row("epoch  loss", "    2   0.4")
    shown = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in shown] == ["epoch", "1", "1", "a", "epoch", "2"]


def test_validation_has_a_bar(train, valid, monkeypatch, capsys):
    monkeypatch.setattr("birdembed.training.progress.is_interactive", lambda: True)
    fine_tune(new_model(), train, valid, 1, **EASY)
    bars = [part for part in capsys.readouterr().err.split("\r") if "validation" in part]
    assert any(f"/{len(valid)} " in bar for bar in bars)


def test_the_time_left_knows_of_larger_images_to_come():
    assert seconds_left([128, 128, 256, 256], 60, 5) == 60 + 5 + 2 * (240 + 5)
    assert seconds_left([128], 60, 5) == 0


def test_config_object_and_options_together(train):
    config = TrainConfig(epochs=3, lr=0.5, image_size=96)
    trainer = Trainer(new_model(), train, config=config, lr=0.01)
    assert (trainer.config.epochs, trainer.config.lr) == (3, 0.01)
    assert trainer.config.head_lr == pytest.approx(0.05)
