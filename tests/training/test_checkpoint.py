"""Checkpoints: whole or not at all, and damage that is named."""

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from birdembed import Callback, ImageFolder, Trainer, WeightsError, fine_tune, load_model
from birdembed.training import checkpoint
from birdembed.training.checkpoint_files import own_checksum
from tests.support import ROOT
from tests.support import fake_core_trainer as fake
from tests.support.small_training import EASY, new_model
from tests.support.train_data import NAMES

pytestmark = pytest.mark.usefixtures("small_core")


@pytest.fixture
def train(uneven):
    return ImageFolder(uneven / "train")


@pytest.fixture
def valid(uneven):
    return ImageFolder(uneven / "valid")


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


def test_ctrl_c_after_the_last_rename_keeps_what_last_json_names(train, tmp_path, monkeypatch):
    real = checkpoint.replacing

    @contextmanager
    def interrupted(path):
        with real(path) as temporary:
            yield temporary
        raise KeyboardInterrupt

    trainer = Trainer(new_model(), train, checkpoint_dir=tmp_path, **EASY)
    trainer.step(np.zeros((2, 3, 96, 96), np.float32), np.array([0, 1]), np.array([0, 1]))
    monkeypatch.setattr(checkpoint, "replacing", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.save_checkpoint(tmp_path)
    named = json.loads((tmp_path / "last.json").read_text())["file"]
    assert [path.name for path in tmp_path.glob("step-*")] == [named]


def test_a_disk_that_is_full_from_the_start_is_left_as_it_was(train, tmp_path, monkeypatch):
    def full(path, tensors, metadata=None):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint, "write_safetensors", full)
    with pytest.raises(OSError, match="No space left"):
        fine_tune(new_model(), train, None, 1, checkpoint_dir=tmp_path / "a" / "b", **EASY)
    assert os.listdir(tmp_path) == []


def test_an_oserror_of_a_callback_does_not_cost_the_checkpoint(train, tmp_path):
    """A connection that breaks is an OSError too, and says nothing of the disk."""

    class Broken(Callback):
        def on_step_end(self, trainer, logs):
            if logs["step"] == 2:
                raise ConnectionResetError("the tracking server went away")

    model = new_model()
    with pytest.raises(ConnectionResetError):
        fine_tune(model, train, None, 1, checkpoint_dir=tmp_path, callbacks=Broken(), **EASY)
    assert checkpoint.read_checkpoint(tmp_path).step == 2


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


# Damage and mismatch


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
    with pytest.raises(WeightsError, match="has no checkpoint"):
        Trainer.resume(tmp_path / "nowhere", train)


def test_arrays_that_are_not_what_the_json_says(saved, train):
    edit(saved, architecture="vgg16")
    with pytest.raises(WeightsError, match="'vgg16'"):
        Trainer.resume(saved, train)
    edit(saved, architecture="resnet50", class_names=[*NAMES, "dodo"])
    with pytest.raises(WeightsError, match=r"fc\.weight is \(4, 2048\), expected \(5, 2048\)"):
        Trainer.resume(saved, train)
    edit(saved, class_names=list(NAMES), position={"epoch": 0, "nonsense": 1})
    with pytest.raises(WeightsError, match="damaged: its checksum is wrong"):
        Trainer.resume(saved, train)
    edit(saved, format=99)
    with pytest.raises(WeightsError, match="format 99"):
        Trainer.resume(saved, train)


CHANGES = {
    "config": (lambda v: v.update(config={}), "config.epochs: missing"),
    "lr": (lambda v: v["config"].pop("lr"), "config.lr: missing"),
    "epochs": (lambda v: v["config"].update(epochs="x"), "config.epochs: expected a whole"),
    "option": (lambda v: v["config"].update(momentum="x"), "config: momentum"),
    "no option": (lambda v: v["config"].update(eopchs=1), "config: .*eopchs"),
    "loss": (lambda v: v["config"].update(loss={}), "config.loss: expected a string"),
    "supcon": (
        lambda v: v["config"].update(loss="SupCon(temperature=0.0, weight=-1.0)"),
        "config.loss",
    ),
    "epoch": (lambda v: v["history"].append({"a": 1}), r"history\[0\].epoch: missing"),
    "no epoch": (lambda v: v["history"].append(3), r"history\[0\]: expected an object"),
    "metric": (
        lambda v: v["history"].append({"epoch": 1, "step": 2, "valid_loss": {}}),
        r"history\[0\].valid_loss: expected a number or null, got {}",
    ),
    "nan": (lambda v: v["position"].update(epoch=float("nan")), "position.epoch: .*got nan"),
    "bool": (lambda v: v["position"].update(images=True), "position.images: .*got True"),
    "no images": (lambda v: v["position"].pop("images"), "position.images: missing"),
    "nonsense": (lambda v: v["position"].update(nonsense=1), "position has .* 'nonsense'"),
    "later": (lambda v: v["position"].update(epoch_start=9), "position.epoch_start: is after"),
    "step": (lambda v: v.update(step=2**63), "step: expected a whole number"),
    "file": (lambda v: v.update(file="../x.safetensors"), "file: expected the name of a step file"),
    "classes": (lambda v: v.update(class_names="abcd"), "class_names: expected a list of strings"),
    "preprocess": (lambda v: v["preprocess"].update(size="x"), "preprocess: size"),
    "size": (lambda v: v.update(base_size=0), "base_size: size must be"),
    "side": (lambda v: (v.update(base_size=97), v["config"].update(image_size=None)), "base_size"),
    "species": (lambda v: v.update(species_names={"a": 1}), "species_names: .*'a'"),
    "data": (lambda v: v.update(data=[]), "data: expected an object"),
    "source": (lambda v: v.pop("source"), "source: missing"),
}


def change(folder, make, checksum="right"):
    path = folder / "last.json"
    values = json.loads(path.read_text())
    make(values)
    values["own_checksum"] = own_checksum(values)
    if checksum == "none":
        del values["own_checksum"]
    path.write_text(json.dumps(values))
    return re.escape(f"{path}: damaged: ")


@pytest.mark.parametrize("name", CHANGES)
def test_values_that_nobody_wrote_are_named_with_file_and_field(saved, train, name):
    make, text = CHANGES[name]
    begins = change(saved, make)
    with pytest.raises(WeightsError, match=f"^{begins}{text}"):
        Trainer.resume(saved, train)
    with pytest.raises(WeightsError, match=f"^{begins}{text}"):
        fine_tune(new_model(), train, None, 2, checkpoint_dir=saved, resume=True)


@pytest.mark.parametrize("name", ["config", "metric", "nan", "epochs"])
def test_without_its_checksum_nothing_is_believed(saved, train, name):
    begins = change(saved, CHANGES[name][0], "none")
    with pytest.raises(WeightsError, match=f"^{begins}own_checksum: missing"):
        Trainer.resume(saved, train)
    with pytest.raises(WeightsError, match=f"^{begins}own_checksum: missing"):
        fine_tune(new_model(), train, None, 2, checkpoint_dir=saved, resume=True)


def test_values_of_callbacks_and_metrics_that_are_not_finite_are_read(saved, train):
    logs = {"epoch": 1, "step": 0, "train_loss": float("nan"), "valid_loss": None, "mine": {"a": 1}}
    change(saved, lambda values: values["history"].append(logs))
    assert Trainer.resume(saved, train).history.epochs[0]["mine"] == {"a": 1}


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
