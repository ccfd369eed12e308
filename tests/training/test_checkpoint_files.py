"""What a training may replace and remove in its folder of checkpoints: what training wrote."""

import json
import os
import re
import signal

import numpy as np
import pytest

from birdembed import BirdembedError, ImageFolder, Trainer, fine_tune
from birdembed.pretrained.reading import read_pretrained
from birdembed.training import checkpoint, checkpoint_files
from birdembed.training.checkpoint_files import checkpoint_bytes, remove_checkpoints
from birdembed.weights.safetensors_file import write_safetensors
from tests.support.small_training import EASY, new_model

pytestmark = pytest.mark.usefixtures("small_core")
MODEL = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture
def train(uneven):
    return ImageFolder(uneven / "train")


@pytest.fixture
def valid(uneven):
    return ImageFolder(uneven / "valid")


@pytest.fixture
def run(train, valid, tmp_path):
    """Return a function that trains with its checkpoints in `tmp_path`; each epoch is the best."""

    def run(epochs=1, **options):
        options = {"checkpoint_dir": tmp_path, "schedule": "constant", **EASY, **options}
        return fine_tune(new_model(), train, valid, epochs, monitor="loss", **options)

    return run


def everything(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def steps(folder):
    return sorted(path.name for path in folder.glob("step-*"))


# Refused before the first step


def own_folder(folder):
    (folder / "best").mkdir()
    (folder / "best" / "my-photos.txt").write_text("mine")


def file(folder):
    (folder / "best").write_text("mine")


def other_model(folder):
    (folder / "best").mkdir()
    (folder / "best" / "config.json").write_text('{"model_type": "resnet"}')
    (folder / "best" / "model.safetensors").write_text("mine")


def link_to_own_folder(folder):
    (folder / "photos").mkdir()
    (folder / "photos" / "a.jpg").write_text("mine")
    (folder / "best").symlink_to("photos")


def own_json(folder):
    (folder / "last.json").write_text('{"last": "played"}')


def pipe(folder):
    os.mkfifo(folder / "last.json")


REFUSED = {
    own_folder: r"best: .* a folder with other files \('my-photos.txt', but no .*; move it away",
    file: r"best: .* this is a file; move it away",
    other_model: r"best: .* other files \('config.json', 'model.safetensors', but no config.json",
    link_to_own_folder: r"best: .* a folder with other files \('a.jpg', but",
    own_json: r"last.json: .* not one of birdembed; move it away, or use another checkpoint_dir",
    pipe: r"last.json: .* not one of birdembed",
}


@pytest.mark.parametrize("make", REFUSED)
def test_what_training_did_not_write_is_not_replaced(run, train, tmp_path, make):
    make(tmp_path)
    before = everything(tmp_path)
    begun = []
    with pytest.raises(BirdembedError, match=f"^{re.escape(str(tmp_path))}/{REFUSED[make]}"):
        run(callbacks=lambda *_: begun.append(1))
    with pytest.raises(BirdembedError, match=REFUSED[make]):
        Trainer(new_model(), train, **EASY).save_checkpoint(tmp_path)
    assert everything(tmp_path) == before
    assert not begun
    os.rename(tmp_path / REFUSED[make].split(":")[0], tmp_path / "mine")
    run()  # the way out that the message tells


def test_files_next_to_the_best_model_stay(run, tmp_path):
    new_model().save_pretrained(tmp_path / "best")
    for name in ("notes.txt", ".DS_Store"):
        (tmp_path / "best" / name).write_text("mine")
    run()
    assert (tmp_path / "best" / "notes.txt").read_text() == "mine"
    read_pretrained(tmp_path / "best")


def test_step_files_and_hidden_files_of_others_stay(run, tmp_path):
    weights = {"x": np.zeros(2, np.float32)}
    names = [
        *("step-1.safetensors", "step-00000003-0a1b2c.safetensors"),
        *("step-final.safetensors", "step-00000003-0a1b2c (copy).safetensors"),
        *(".step-00000003-abc.safetensors.99.tmp", ".best.99.abc.tmp", ".best.old", ".mine.tmp"),
    ]
    for name in names:
        write_safetensors(tmp_path / name, weights)
    before = everything(tmp_path)
    run(2)
    run(3, resume=True)
    (current,) = set(steps(tmp_path)) - set(names)
    after = everything(tmp_path)
    assert {name: after[name] for name in names} == before
    assert set(os.listdir(tmp_path)) == {*names, "best", "last.json", current}


def test_a_damaged_checkpoint_of_ours_may_be_replaced(run, tmp_path):
    run()
    path = tmp_path / "last.json"
    path.write_text(path.read_text()[:100])
    (old,) = steps(tmp_path)
    run()
    assert checkpoint.read_checkpoint(tmp_path).step == 6
    assert old in steps(tmp_path)  # nothing whole says that it is ours


# Interrupted writes


def forked(work):
    """Run in a process that kills itself."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("before", ["nothing", "checkpoint"])
def test_arrays_that_last_json_never_named_go(run, tmp_path, monkeypatch, before):
    if before == "checkpoint":
        run()
    for count in (1, 2):  # killed twice in the same place
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "replacing", kill)
            forked(lambda: run(2))
        # The next write starts with tidying up.
        assert len(steps(tmp_path)) == 1 + (before == "checkpoint"), count
    run(2, resume=True)
    assert len(steps(tmp_path)) == 1
    assert set(os.listdir(tmp_path)) == {"best", "last.json", *steps(tmp_path)}


def test_arrays_that_were_replaced_go_although_the_writer_was_killed(run, tmp_path, monkeypatch):
    run()
    real, calls = checkpoint.remove_leftovers, []

    def late(folder):  # at the start, before and after the write
        calls.append(folder)
        return kill() if len(calls) == 3 else real(folder)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "remove_leftovers", late)
        forked(lambda: run(2, resume=True))
    assert len(steps(tmp_path)) == 2
    assert checkpoint.read_checkpoint(tmp_path).step == 12
    assert len(list(checkpoint_files.leftovers(tmp_path))) == 1
    run(3, resume=True)
    assert len(steps(tmp_path)) == 1


def test_what_a_killed_save_of_best_left_is_read_and_replaced(run, tmp_path):
    run()
    best = tmp_path / "best"
    (best / ".saved").mkdir()
    os.rename(best / "config.json", best / ".saved" / "config.json")
    (best / ".save.0123456789abcdef.birdembed.tmp").mkdir()
    assert checkpoint.read_best(tmp_path, 1) is not None
    assert checkpoint.read_best(tmp_path, 2) is None
    run(3, resume=True)
    assert sorted(os.listdir(best)) == MODEL
    assert checkpoint.read_best(tmp_path, 3) is not None


def test_a_first_best_that_was_killed_at_its_beginning_is_no_obstacle(run, tmp_path):
    (tmp_path / "best" / ".save.0123456789abcdef.birdembed.tmp").mkdir(parents=True)
    run()
    assert sorted(os.listdir(tmp_path / "best")) == MODEL


# Links, modes and owners


@pytest.mark.parametrize("there", [True, False])
def test_best_may_be_a_link_to_another_disk(run, tmp_path, there):
    big = tmp_path / "disk" / "big"
    if there:
        big.mkdir(parents=True)
    (tmp_path / "best").symlink_to("disk/big")
    run(3)  # three improvements
    assert os.readlink(tmp_path / "best") == "disk/big"
    assert sorted(os.listdir(big)) == MODEL
    assert read_pretrained(big).training["best"]["epoch"] == 3
    run(1)  # a new run
    assert read_pretrained(big).training["best"]["epoch"] == 1
    assert {*os.listdir(tmp_path)} == {"best", "disk", "last.json", *steps(tmp_path)}


def modes(folder):
    found = {
        path.relative_to(folder).as_posix(): path.stat().st_mode & 0o777
        for path in folder.rglob("*")
    }
    return {re.sub("^step-.*", "step", name): mode for name, mode in found.items()}


PRIVATE = {"best": 0o700, "last.json": 0o600, "step": 0o600} | {
    f"best/{name}": 0o600 for name in MODEL
}


def make_private(folder):
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)


def test_new_files_have_the_mode_of_those_they_replace(run, tmp_path):
    run()
    assert modes(tmp_path)["step"] != 0o600
    make_private(tmp_path)
    run(3, resume=True)
    assert modes(tmp_path) == PRIVATE
    run(1)  # a new run in the same folder
    assert modes(tmp_path) == PRIVATE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_new_files_have_the_owner_of_those_they_replace(run, tmp_path):
    run()
    for path in tmp_path.rglob("*"):
        os.chown(path, 1234, 1235)
    run(2, resume=True)
    assert {(p.stat().st_uid, p.stat().st_gid) for p in tmp_path.rglob("*")} == {(1234, 1235)}


# Removed on request


def test_removed_is_what_training_wrote(run, tmp_path):
    run()
    (tmp_path / "step-1.safetensors").write_text("mine")
    (tmp_path / "best" / "notes.txt").write_text("mine")
    (tmp_path / "best" / "README.md").write_text("my own words")
    ours = [*tmp_path.glob("step-0*"), tmp_path / "last.json"]
    ours += [tmp_path / "best" / name for name in MODEL[1:]]
    assert checkpoint_bytes(tmp_path) == sum(path.stat().st_size for path in ours)
    remove_checkpoints(tmp_path)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == ["best", "best/README.md", "best/notes.txt", "step-1.safetensors"]


def test_removed_with_the_folder_if_nothing_is_left(run, tmp_path):
    run(checkpoint_dir=tmp_path / "k")
    remove_checkpoints(tmp_path / "k")
    assert os.listdir(tmp_path) == []


def test_of_a_link_the_files_behind_it_are_removed(run, tmp_path):
    (tmp_path / "best").symlink_to("big")
    run()
    remove_checkpoints(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["best", "big"]
    assert os.listdir(tmp_path / "big") == []


def test_a_json_of_others_removes_nothing(tmp_path):
    (tmp_path / "step-00000003-0a1b2c.safetensors").write_text("mine")
    values = {"format": 1, "file": "step-00000003-0a1b2c.safetensors"}
    (tmp_path / "last.json").write_text(json.dumps(values))
    before = everything(tmp_path)
    remove_checkpoints(tmp_path)
    assert everything(tmp_path) == before
