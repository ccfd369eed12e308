"""Checkpoints: whole or not at all, and a run that goes on as if it had never stopped."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from birdembed import Callback, Model, Preprocess, Trainer, WeightsError, fine_tune, load_model
from birdembed.training import checkpoint, loop
from tests.support import ROOT, train_run
from tests.support import fake_core_trainer as fake
from tests.support.train_data import NAMES, make_folder

EASY = {"image_size": 96, "batch_size": 8, "lr": 5e-3, "augment": None, "seed": 3}


@pytest.fixture(autouse=True)
def small_core(monkeypatch):
    fake.install(monkeypatch)


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("resume")
    make_folder(root / "train", per_class=11)
    make_folder(root / "valid", per_class=3, seed=1)
    return root


@pytest.fixture
def train(root):
    from birdembed import ImageFolder

    return ImageFolder(root / "train")


@pytest.fixture
def valid(root):
    from birdembed import ImageFolder

    return ImageFolder(root / "valid")


def new_model(**options):
    return Model("resnet50", preprocess=Preprocess(size=96), **options)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def arrays_of(path):
    with np.load(path) as file:
        return dict(file)


class Interrupt(Callback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, trainer, logs):
        if logs["step"] == self.step:
            raise KeyboardInterrupt


# Going on


def test_killed_at_any_step_and_resumed_ends_with_the_same_bits(root, tmp_path):
    train_run.main(root, tmp_path / "whole", tmp_path / "whole.npz")
    wanted = arrays_of(tmp_path / "whole.npz")
    assert len(wanted["losses"]) == 3
    for i, steps in enumerate([(1, 7), (3, 5, 8), (6,)]):
        folder = tmp_path / f"killed{i}"
        for kill_at in (*steps, 0):
            run = subprocess.run(
                [
                    sys.executable,
                    ROOT / "tests/support/train_run.py",
                    root,
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
                callbacks=Interrupt(at),
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


def test_a_rate_nobody_chose_fits_the_run_and_stays_with_it(train, tmp_path):
    options = {k: v for k, v in EASY.items() if k != "lr"} | {"checkpoint_dir": tmp_path}
    assert Trainer(new_model(), train, epochs=2, **options).config.lr == pytest.approx(
        1e-3 * (12 / 1000) ** 0.5
    )
    assert Trainer(new_model(), train, epochs=500, **options).config.lr == 1e-3
    first = fine_tune(new_model(), train, None, 2, schedule="constant", **options)
    longer = fine_tune(new_model(), train, None, 3, schedule="constant", resume=True, **options)
    assert longer.epochs[2]["lr"] == first.epochs[1]["lr"] == pytest.approx(1.0954e-4, rel=1e-3)


def test_trainer_resume_makes_its_own_model(train, valid, tmp_path):
    trainer = Trainer(
        new_model(), train, valid, epochs=3, callbacks=Interrupt(8), eval_size=128, **EASY
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


def test_what_a_killed_run_left_half_written_goes(train, tmp_path):
    (tmp_path / ".step-00000003-abc.safetensors.99.tmp").write_bytes(b"half")
    (tmp_path / ".best.99.abc.tmp").mkdir()
    (tmp_path / ".mine.tmp").write_bytes(b"not ours")
    fine_tune(new_model(), train, None, 1, checkpoint_dir=tmp_path, **EASY)
    assert [path.name for path in tmp_path.glob(".*.tmp")] == [".mine.tmp"]


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
                Interrupt(13),
                lambda t, logs: kept.setdefault(logs["epoch"], t.model.state_dict()),
            ],
            **options,
        )
    assert same(load_model(tmp_path / "best").state_dict(), kept[1])
    model = new_model()
    fine_tune(model, train, valid, 3, resume=True, **options)
    assert same(model.state_dict(), kept[1])


# Files


def test_the_folder_holds_last_and_best_and_nothing_else(train, valid, tmp_path):
    fine_tune(new_model(), train, valid, 3, checkpoint_dir=tmp_path, **EASY)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 3
    assert names[:2] == ["best", "last.json"]
    assert names[2].startswith("step-00000018-")
    assert load_model(tmp_path / "best").class_names == list(NAMES)
    read = checkpoint.read_checkpoint(tmp_path)
    assert set(read.arrays) == {"model", "m", "v", "ema"}


def test_a_disk_that_fills_up_leaves_the_checkpoint_before(train, valid, tmp_path, monkeypatch):
    model = new_model()
    real = checkpoint.write_safetensors

    def full(path, tensors, metadata=None):
        if "step-00000012" in str(path):
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device", str(path))
        real(path, tensors, metadata)

    monkeypatch.setattr(checkpoint, "write_safetensors", full)
    with pytest.raises(OSError, match="No space left"):
        fine_tune(model, train, valid, 3, checkpoint_dir=tmp_path, **EASY)
    assert model.num_classes == 4  # the work of twelve steps is not lost
    assert checkpoint.read_checkpoint(tmp_path).step == 6
    assert len(list(tmp_path.glob("step-*"))) == 1
    monkeypatch.undo()


FULL = """
import resource, sys
import pytest
from tests.support import fake_core_trainer as fake
from tests.support.train_data import make_folder
from birdembed import Callback, Model, Preprocess, fine_tune

class Fill(Callback):
    def on_epoch_end(self, trainer, logs):
        if logs["epoch"] == 2:  # no file may grow beyond this from here on
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))

with pytest.MonkeyPatch.context() as patch:
    fake.install(patch)
    train = make_folder(__import__("pathlib").Path(sys.argv[1]), per_class=6)
    model = Model("resnet50", preprocess=Preprocess(size=96))
    try:
        fine_tune(model, train, None, 3, checkpoint_dir=sys.argv[2], image_size=96, batch_size=8,
                  augment=None, callbacks=Fill())
    except OSError as error:
        print(type(error).__name__, error, model.num_classes)
"""


def test_a_disk_that_is_really_full(tmp_path):
    """A limit on the size of files stands for the disk: writes fail in the middle of a file."""
    pytest.importorskip("resource")
    run = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "data", tmp_path / "k"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    # The error names the file, and the work is not lost: the model has four classes.
    assert re.fullmatch(r"OSError .*step-00000006-\w+\.safetensors.* 4\n", run.stdout), run.stdout
    assert checkpoint.read_checkpoint(tmp_path / "k").step == 3
    assert len(list((tmp_path / "k").glob("step-*"))) == 1
    assert not list((tmp_path / "k").glob(".*"))


def test_a_kill_between_the_renames_of_best_is_mended(train, valid, tmp_path):
    fine_tune(new_model(), train, valid, 1, checkpoint_dir=tmp_path, **EASY)
    os.rename(tmp_path / "best", tmp_path / ".best.old")
    assert checkpoint.read_best(tmp_path, 1) is not None
    assert (tmp_path / "best").is_dir()
    assert checkpoint.read_best(tmp_path, 2) is None


# Damage and mismatch


@pytest.fixture
def saved(train, tmp_path):
    Trainer(new_model(), train, epochs=1, ema=None, **EASY).save_checkpoint(tmp_path)
    return tmp_path


def edit(folder, **changes):
    path = folder / "last.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def tensor_file(folder):
    (file,) = folder.glob("step-*")
    return file


def test_truncated_and_damaged(saved, train, tmp_path):
    file = tensor_file(saved)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match=f"{file.name}: truncated or damaged"):
        Trainer.resume(saved, train)
    flipped = bytearray(data)
    flipped[-100] ^= 1
    file.write_bytes(flipped)
    with pytest.raises(WeightsError, match="checksum"):
        Trainer.resume(saved, train)
    file.unlink()
    with pytest.raises(WeightsError, match=r"no such file, but last\.json"):
        Trainer.resume(saved, train)
    (saved / "last.json").write_text('{"format": 1')
    with pytest.raises(WeightsError, match=r"last\.json: damaged"):
        Trainer.resume(saved, train)
    with pytest.raises(WeightsError, match="no checkpoint in this folder"):
        Trainer.resume(tmp_path / "nowhere", train)


def test_arrays_that_are_not_what_the_json_says(saved, train):
    edit(saved, architecture="resnet18")
    with pytest.raises(WeightsError, match="'resnet18'"):
        Trainer.resume(saved, train)
    edit(saved, architecture="resnet50", class_names=[*NAMES, "dodo"])
    with pytest.raises(WeightsError, match=r"fc\.weight is \(4, 2048\), expected \(5, 2048\)"):
        Trainer.resume(saved, train)
    edit(saved, class_names=list(NAMES), position={"epoch": 0, "nonsense": 1})
    with pytest.raises(WeightsError, match="damaged: it is not what was written"):
        Trainer.resume(saved, train)
    edit(saved, format=99)
    with pytest.raises(WeightsError, match="format 99"):
        Trainer.resume(saved, train)


def test_an_architecture_the_arrays_do_not_have(saved, train, monkeypatch):
    table = fake.parameter_table

    def two_tables(architecture, classes):
        found = table(architecture, classes)
        if architecture == "resnet50d":
            found = [(name.replace("conv1.weight", "conv1.0.weight"), s) for name, s in found]
        return found

    monkeypatch.setattr("birdembed._core.parameter_table", two_tables)
    edit(saved, architecture="resnet50d")
    with pytest.raises(WeightsError, match=r"a resnet50d with 4 classes: lacks model/conv1\.0"):
        Trainer.resume(saved, train)


def test_other_classes_than_train(saved, train):
    few = train.select(["finch", "jay", "owl"])
    with pytest.raises(WeightsError, match="other classes: train lacks its 'wren'"):
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
    assert "train is not what it was (44 images then, 20 now)" in caplog.text
