"""A run that goes on as if it had never stopped, and options and data that it may not change."""

import copy
import dataclasses
import fcntl
import json
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest

from birdembed import (
    BirdembedError,
    Distill,
    ImageFolder,
    Model,
    Preprocess,
    TrainConfig,
    Trainer,
    WeightsError,
    fine_tune,
    load_model,
)
from birdembed.training import checkpoint, loop, resume
from tests.support import ROOT, train_run
from tests.support.small_training import EASY, Stop, edited, interrupt, new_model, same
from tests.support.train_data import NAMES

pytestmark = pytest.mark.usefixtures("small_core")


@pytest.fixture
def train(uneven):
    return ImageFolder(uneven / "train")


@pytest.fixture
def valid(uneven):
    return ImageFolder(uneven / "valid")


def arrays_of(path):
    with np.load(path) as file:
        return dict(file)


# Going on


def test_killed_at_any_step_and_resumed_ends_with_the_same_bits(uneven, tmp_path):
    train_run.main(uneven, tmp_path / "whole", tmp_path / "whole.npz")
    wanted = arrays_of(tmp_path / "whole.npz")
    assert len(wanted["losses"]) == 3
    for i, steps in enumerate([(1, 7), (3, 5, 8), (6,)]):
        folder = tmp_path / f"killed{i}"
        for kill_at in (*steps, 0):
            run = subprocess.run(
                [
                    sys.executable,
                    ROOT / "tests/support/train_run.py",
                    uneven,
                    folder,
                    tmp_path / f"{i}.npz",
                ]
                + ([str(kill_at)] if kill_at else []),
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
            )
            assert run.returncode == (-signal.SIGKILL if kill_at else 0), run.stderr
        found = arrays_of(tmp_path / f"{i}.npz")
        assert same(found, wanted), f"killed at {steps}"


@pytest.mark.parametrize("every", [None, 2])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_ctrl_c_and_resume_ends_with_the_same_bits(train, valid, tmp_path, every, optimizer):
    options = {**EASY, "optimizer": optimizer, "checkpoint_every": every, "monitor": "loss"}
    whole = new_model()
    history = fine_tune(whole, train, valid, 3, checkpoint_dir=tmp_path / "a", **options)
    model = new_model()
    for at in (2, 9):
        with pytest.raises(KeyboardInterrupt):
            fine_tune(
                model,
                train,
                valid,
                3,
                resume=True,
                checkpoint_dir=tmp_path / "b",
                callbacks=Stop(at, interrupt),
                **options,
            )
    again = fine_tune(model, train, valid, 3, resume=True, checkpoint_dir=tmp_path / "b", **options)
    assert same(model.state_dict(), whole.state_dict())
    timed = ("seconds", "images_per_second")
    for a, b in zip(history.epochs, again.epochs, strict=True):
        assert {k: v for k, v in a.items() if k not in timed} == {
            k: v for k, v in b.items() if k not in timed
        }


def test_a_finished_run_is_extended(train, valid, tmp_path):
    options = {**EASY, "checkpoint_dir": tmp_path, "schedule": "constant"}
    model = new_model()
    first = fine_tune(model, train, valid, 2, resume=True, **options)
    done = fine_tune(new_model(), train, valid, 2, resume=True, **options)
    assert done.epochs == first.epochs
    longer = fine_tune(model, train, valid, 4, resume=True, **options)
    assert longer.epochs[:2] == first.epochs
    assert [logs["epoch"] for logs in longer.epochs] == [1, 2, 3, 4]
    whole = new_model()
    fine_tune(whole, train, valid, 4, **{**options, "checkpoint_dir": None})
    assert same(model.state_dict(), whole.state_dict())


def test_names_and_preprocessing_are_those_of_the_checkpoint(train, valid, tmp_path):
    names = {NAMES[0]: ("Wren", "Troglodytes troglodytes")}
    whole, model = new_model(), new_model()
    whole.species_names = model.species_names = names
    fine_tune(whole, train, valid, 2, **EASY)
    options = {**EASY, "checkpoint_dir": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        fine_tune(model, train, valid, 2, callbacks=Stop(3, interrupt), **options)
    other = Model("resnet50", preprocess=Preprocess(size=64, mean=(0.1, 0.2, 0.3)))
    other.species_names = {"heron": ("Grey Heron", "Ardea cinerea")}
    fine_tune(other, train, valid, 2, resume=True, **options)
    assert other.species_names == names
    assert other.preprocess == whole.preprocess
    assert same(other.state_dict(), whole.state_dict())


def in_use(folder):
    """Lock the folder, as another training does; return what holds the lock."""
    folder = os.open(folder, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    return folder


def with_a_file_of_somebody_else(folder):
    (folder / "best").mkdir(exist_ok=True)
    (folder / "best" / "config.json").write_text("")


def without_its_map(folder):
    with edited(folder) as found:
        found.learned.clear()


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (in_use, BirdembedError),
        (with_a_file_of_somebody_else, BirdembedError),
        (without_its_map, WeightsError),
    ],
)
def test_a_resume_that_cannot_start_leaves_the_model_alone(train, tmp_path, spoil, error):
    teacher = np.random.default_rng(0).normal(size=(len(train), 4))
    options = {**EASY, "checkpoint_dir": tmp_path, "eval_size": 128, "loss": Distill(teacher)}
    fine_tune(new_model(), train, None, 1, **options)
    held = spoil(tmp_path)
    model = new_model()
    before = model._current
    with pytest.raises(error):
        fine_tune(model, train, None, 2, resume=True, **options)
    if held is not None:
        os.close(held)
    assert model._current is before


def test_a_resume_that_diverges_leaves_the_model_alone(train, tmp_path):
    def spoiled(trainer, logs):
        core = trainer._run.engine.core
        core.set_parameters([np.full_like(array, np.nan) for array in core.parameters()])

    options = {**EASY, "checkpoint_dir": tmp_path, "eval_size": 128}
    fine_tune(new_model(), train, None, 1, **options)
    model = new_model()
    before = model._current
    with pytest.raises(BirdembedError, match="NaN or infinity"):
        fine_tune(model, train, None, 2, resume=True, callbacks=spoiled, **options)
    assert model._current is before


def test_a_rate_nobody_chose_fits_the_run_and_stays_with_it(train, tmp_path):
    options = {k: v for k, v in EASY.items() if k != "lr"} | {"checkpoint_dir": tmp_path}
    assert Trainer(new_model(), train, epochs=2, **options).config.lr == pytest.approx(
        1e-3 * (12 / 1000) ** 0.5
    )
    assert Trainer(new_model(), train, epochs=500, **options).config.lr == 1e-3
    first = fine_tune(new_model(), train, None, 2, schedule="constant", **options)
    longer = fine_tune(new_model(), train, None, 3, schedule="constant", resume=True, **options)
    assert longer.epochs[2]["lr"] == first.epochs[1]["lr"] == pytest.approx(1.0954e-4, rel=1e-3)


def test_checkpoints_of_a_folder_named_by_bytes(train, tmp_path):
    path = os.fsencode(tmp_path / "c")
    assert TrainConfig(checkpoint_dir=path).checkpoint_dir == str(tmp_path / "c")
    for wrong, error in ((5, TypeError), ("", ValueError)):
        with pytest.raises(error, match="expected a path"):
            TrainConfig(checkpoint_dir=wrong)
    fine_tune(new_model(), train, None, 1, checkpoint_dir=path, **EASY)
    longer = fine_tune(new_model(), train, None, 2, checkpoint_dir=path, resume=True, **EASY)
    assert len(longer) == 2
    other = os.fsencode(tmp_path / "other")
    Trainer.resume(path, train).save_checkpoint(other)
    assert Trainer.resume(other, train).config.checkpoint_dir == str(tmp_path / "other")


def test_trainer_resume_makes_its_own_model(train, valid, tmp_path):
    trainer = Trainer(
        new_model(), train, valid, epochs=3, callbacks=Stop(8, interrupt), eval_size=128, **EASY
    )
    trainer.model.species_names = {NAMES[0]: ("Wren", "Troglodytes troglodytes")}
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    trainer.save_checkpoint(tmp_path)
    again = Trainer.resume(tmp_path, train, valid)
    assert again.step_count == 8
    assert len(again.history) == 1
    assert again.config.checkpoint_dir == str(tmp_path)
    assert again.model.preprocess.size == 128
    assert again.model.species_names == trainer.model.species_names
    trainer._callbacks = type(trainer._callbacks)(())
    trainer.fit()
    again.fit()
    assert same(again.model.state_dict(), trainer.model.state_dict())
    assert len(again.model.species_names) == 1
    longer = Trainer.resume(tmp_path, train, valid, epochs=4)
    assert len(longer.fit()) == 4


def own_loss(features, labels):
    return 0.0, np.zeros_like(features)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_trainer_is_no_object_to_copy(train, copied, begun):
    trainer = Trainer(new_model(), train, epochs=1, **EASY)
    if begun:
        trainer.gradients()
    with pytest.raises(TypeError, match=r"save_checkpoint\(folder\), and continue with Trainer"):
        copied(trainer)


def test_an_own_loss_is_known_in_another_process(train, tmp_path):
    options = {**EASY, "checkpoint_dir": tmp_path}
    fine_tune(new_model(), train, None, 1, loss=own_loss, **options)
    text = (tmp_path / "last.json").read_text()
    assert '"<function own_loss>"' in text  # no address, which is another one each time
    assert len(fine_tune(new_model(), train, None, 2, loss=own_loss, resume=True, **options)) == 2
    assert len(Trainer.resume(tmp_path, train, loss=own_loss, epochs=3).fit()) == 3


def test_both_ways_to_extend_a_run_are_one(train, tmp_path):
    options = {**EASY, "schedule": "cosine"}
    for name in "ab":
        fine_tune(new_model(), train, None, 2, checkpoint_dir=tmp_path / name, **options)
    a, b = new_model(), Trainer.resume(tmp_path / "b", train, epochs=12)
    fine_tune(a, train, None, 12, checkpoint_dir=tmp_path / "a", resume=True, **options)
    b.fit()
    assert same(a.state_dict(), b.model.state_dict())
    for other in ({"optimizer": "sgd"}, {"lr": 1.0}, {"batch_size": 4}):
        with pytest.raises(ValueError, match=f"made with .*{next(iter(other))}"):
            Trainer.resume(tmp_path / "b", train, **other)


def test_saved_before_the_first_step(train, tmp_path):
    trainer = Trainer(new_model(), train, epochs=1, **EASY)
    trainer.save_checkpoint(tmp_path)
    again = Trainer.resume(tmp_path, train)
    trainer.fit()
    again.fit()
    assert same(again.model.state_dict(), trainer.model.state_dict())


def test_the_best_epoch_survives_a_resume(train, valid, tmp_path, monkeypatch):
    losses = iter([1.0, 2.0, 3.0])
    measure = loop.validate
    monkeypatch.setattr(
        loop, "validate", lambda *args: measure(*args) | {"valid_loss": next(losses)}
    )
    model = new_model()
    kept = {}
    options = {**EASY, "monitor": "loss", "checkpoint_dir": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        fine_tune(
            model,
            train,
            valid,
            3,
            callbacks=[
                Stop(13, interrupt),
                lambda t, logs: kept.setdefault(logs["epoch"], t.model.state_dict()),
            ],
            **options,
        )
    assert same(load_model(tmp_path / "best").state_dict(), kept[1])
    model = new_model()
    fine_tune(model, train, valid, 3, resume=True, **options)
    assert same(model.state_dict(), kept[1])


# Mismatch


def test_other_classes_than_train(saved, train):
    few = train.select(["finch", "jay", "owl"])
    with pytest.raises(WeightsError, match="other classes: train does not have 'wren'"):
        Trainer.resume(saved, few)
    turned = train.select(["wren", "finch", "jay", "owl"])
    with pytest.raises(WeightsError, match="another order"):
        Trainer.resume(saved, turned)


def test_other_options_are_named(train, valid, tmp_path):
    options = {**EASY, "checkpoint_dir": tmp_path}
    fine_tune(new_model(), train, valid, 1, **options)
    with pytest.raises(ValueError, match=r"lr=0\.005 \(now 0\.1\)"):
        fine_tune(new_model(), train, valid, 2, resume=True, **{**options, "lr": 0.1})
    history = fine_tune(
        new_model(), train, valid, 2, resume=True, patience=3, cache_bytes=0, **options
    )
    assert len(history) == 2


def test_changed_data_is_said(saved, train, caplog):
    Trainer.resume(saved, train.select(per_class=5))
    assert "train has changed (44 images before, 20 now)" in caplog.text


# Checkpoints from before an option: as if `layer_decay` were new, with a default of 1.0 that is
# not what was done before there was one.


@pytest.fixture
def older(train, tmp_path):
    """A folder with a checkpoint that knows nothing of `layer_decay`."""
    fine_tune(new_model(), train, None, 1, checkpoint_dir=tmp_path, layer_decay=0.8, **EASY)
    with edited(tmp_path) as found:
        assert found.config.pop("layer_decay") == 0.8
    return tmp_path


def test_an_option_that_a_checkpoint_lacks_means_what_the_table_says(older, train, monkeypatch):
    options = {**EASY, "checkpoint_dir": older, "resume": True}
    with pytest.raises(ValueError, match=r"layer_decay=None \(now 1\.0\)"):
        fine_tune(new_model(), train, None, 2, **options)
    monkeypatch.setitem(resume.NEWER_OPTIONS, "layer_decay", 0.8)
    with pytest.raises(ValueError, match=r"layer_decay=0\.8 \(now 1\.0\)"):
        fine_tune(new_model(), train, None, 2, **options)
    assert len(fine_tune(new_model(), train, None, 2, layer_decay=0.8, **options)) == 2


def test_a_trainer_takes_such_an_option_from_the_table(older, train, monkeypatch):
    monkeypatch.setitem(resume.NEWER_OPTIONS, "layer_decay", 0.8)
    monkeypatch.setitem(resume.NEWER_OPTIONS, "seed", EASY["seed"] + 1)  # this one it has
    again = Trainer.resume(older, train, epochs=2)
    assert (again.config.layer_decay, again.config.seed) == (0.8, EASY["seed"])
    assert len(again.fit()) == 2
    assert checkpoint.read_checkpoint(older).config["layer_decay"] == 0.8


#: What every checkpoint has. A field of TrainConfig that is not here came later: it belongs in
#: `NEWER_OPTIONS`, and this list stays as it is.
FIRST = """
    accumulate augment balanced batch_size bn cache_bytes checkpoint_dir checkpoint_every
    class_weights cutmix ema epochs eval_size freeze grad_clip head_epochs head_lr image_size
    label_smoothing layer_decay loss lr mixup momentum monitor nesterov num_threads on_error
    optimizer patience precision schedule seed warmup_epochs weight_decay
"""


def test_newer_options_are_in_the_table():
    config = TrainConfig()
    newer = {field.name for field in dataclasses.fields(config)} - set(FIRST.split())
    assert newer == set(resume.NEWER_OPTIONS)
    assert json.loads(json.dumps(resume.NEWER_OPTIONS)) == resume.NEWER_OPTIONS  # no tuples
    TrainConfig.from_dict({**config.to_dict(), **resume.NEWER_OPTIONS})  # values that it takes
