"""Test that writers leave the old file or the new one, and nothing else."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import birdembed as be
from birdembed.base import files
from birdembed.base.files import KeptFile, replacing_dir, staging
from birdembed.pretrained.contents import COMMITTED, Pretrained
from birdembed.pretrained.reading import read_pretrained
from birdembed.pretrained.writing import write_pretrained
from birdembed.weights.projection import read_projection, write_projection
from tests.support.files import hidden, write

ROOT = Path(__file__).resolve().parents[2]


# Modes and owners ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(mode)
    write(path)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == mode


def test_a_new_file_has_the_mode_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "x")
        with replacing_dir(tmp_path / "folder") as folder:
            (folder / "a").write_text("")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_is_replaced_keeps_its_owner(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    os.chown(path, 1234, 1235)
    path.chmod(0o640)
    write(path)
    state = path.stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (1234, 1235, 0o640)


def test_where_the_group_cannot_be_kept_ours_may_no_more_than_all(tmp_path, monkeypatch):
    def refused(*args):
        raise PermissionError(1, "Operation not permitted")

    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(0o664)
    real = os.stat

    def other(name, *args, **options):
        state = real(name, *args, **options)
        if Path(name) == path:
            state = os.stat_result((*state[:4], 1234, 1235, *state[6:]))
        return state

    monkeypatch.setattr(files.os, "chown", refused)
    monkeypatch.setattr(files.os, "stat", other)
    write(path)
    monkeypatch.undo()
    assert path.stat().st_mode & 0o777 == 0o644


def test_every_file_of_a_model_keeps_its_mode(tmp_path):
    model = be.Model("resnet50", seed=0)
    model.save_pretrained(tmp_path)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).chmod(0o600)
    model.save_pretrained(tmp_path)
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_what_is_unfinished_is_nobody_elses(tmp_path):
    with staging(tmp_path, "x") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700


# Names -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x" * 255, "鳥" * 85, "x\udcff" * 100])
def test_names_as_long_as_the_system_allows(tmp_path, name):
    write(tmp_path / name)
    assert (tmp_path / name).read_text() == "new"
    assert hidden(tmp_path) == []


def test_of_a_link_the_file_it_points_to_is_replaced(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "x").write_text("old")
    (tmp_path / "link").symlink_to("far/x")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "x").read_text() == "new"


@pytest.mark.parametrize("end", ["/", "//", "/.", "/.."])
def test_the_name_of_a_folder_is_not_that_of_a_file(tmp_path, end):
    index = be.Index()
    index.add(["x"], np.eye(1, 4))
    with pytest.raises(IsADirectoryError, match="leave out the / at the end"):
        index.save(f"{tmp_path}/birds.index{end}")
    assert os.listdir(tmp_path) == []


def test_pipes_and_devices_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null", tmp_path):
        with pytest.raises(OSError, match=re.escape(str(path))):
            write(path)
    assert not Path("/dev/null").is_file()
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("name", ["QUJD" * 100_000, "a\0b"])
def test_what_is_no_path_is_shown_in_part(name, tmp_path):
    for use in (
        be.Index.load,
        be.Index(4).save,
        be.Index.from_parquet,
        be.ImageFolder,
        be.ImageFolder.from_csv,
        be.load_model,
        be.verify,
    ):
        with pytest.raises((OSError, ValueError, be.WeightsError)) as caught:
            use(name)
        assert name[0] in str(caught.value)
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("empty", ["", b""])
def test_an_empty_path_is_not_the_current_folder(tmp_path, monkeypatch, empty):
    monkeypatch.chdir(tmp_path)
    image = np.zeros((8, 8, 3), np.uint8)
    model = be.Model("resnet18", num_classes=0, seed=0)
    for use in (
        model.save_pretrained,
        be.Index(4).save,
        be.Index.load,
        be.ImageFolder,
        be.ImageFolder.from_csv,
        lambda path: be.Index.build(model, [image], cache=path),
        lambda path: files.made_folder(path).__enter__(),
        lambda path: replacing_dir(path).__enter__(),
    ):
        with pytest.raises(ValueError, match="expected a path, got an empty one"):
            use(empty)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("value", [None, 5, ["a"]])
def test_what_is_no_path_at_all(value):
    for use in (be.Index.load, be.ImageFolder, be.ImageFolder.from_csv):
        with pytest.raises(TypeError, match="expected a path, got"):
            use(value)


def test_nobody_waits_for_a_pipe_or_reads_a_device_without_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "/dev/zero"):
        for use in (be.Index.load, be.Index.from_parquet, files.sha256_of_file):
            with pytest.raises(OSError, match="a pipe or device"):
                use(path)
        with pytest.raises(be.WeightsError, match="a pipe or device"):
            be.load_model("resnet18", weights=path)


def test_a_projection_does_not_change_with_its_file(tmp_path):
    path = tmp_path / "projection.safetensors"
    given = be.Projection("avg", np.ones(2000, np.float32), np.ones((2000, 4), np.float32))
    write_projection(path, given)
    back = read_projection(path)
    os.truncate(path, 100)  # a mapped file would end this process (SIGBUS)
    np.testing.assert_array_equal(back.mean, given.mean)
    np.testing.assert_array_equal(back.matrix, given.matrix)


def test_a_kept_file_is_read_as_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x").write_text("old")
    kept = KeptFile("x")
    write("x")
    monkeypatch.chdir("/")
    for _ in range(2):
        with kept.open() as file:
            assert file.read() == b"old"
    (tmp_path / "x").unlink()
    assert kept.open().read() == b"old"
    with pytest.raises(FileNotFoundError, match="nobody"):
        KeptFile("nobody").open()


# Model folders ---------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path):
    """Return two models, one of them with a projection."""
    state = be.Model("resnet50", seed=0).state_dict()
    a = Pretrained("resnet50", state, be.Preprocess(size=64)).with_fingerprint()
    b = Pretrained("resnet50", {n: x + 1 for n, x in state.items()}, be.Preprocess(size=96))
    b.projection = be.Projection("avg", np.zeros(2048, "f4"), np.ones((2048, 3), "f4"))
    return a, b.with_fingerprint()


def test_threads_that_save_to_one_folder(tmp_path, two):
    errors = []

    def run(call):
        try:
            for _ in range(3):
                call()
        except BaseException as error:
            errors.append(error)

    def load():
        if (tmp_path / "config.json").exists():
            back = read_pretrained(tmp_path)
            model = next(one for one in two if one.fingerprint == back.fingerprint)
            np.testing.assert_array_equal(back.state["bn1.weight"], model.state["bn1.weight"])
            assert (back.projection is None) == (model.projection is None)

    calls = [lambda i=i: write_pretrained(tmp_path, two[i % 2]) for i in range(3)]
    threads = [threading.Thread(target=run, args=(call,)) for call in (*calls, load)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors
    load()
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("moved", range(5))
def test_a_save_that_was_killed_at_its_end(tmp_path, two, moved):
    """It counts, whichever of its files were in their places already; the next save tidies up."""
    write_pretrained(tmp_path, two[0])
    write_pretrained(tmp_path / "other", two[1])
    os.rename(tmp_path / "other", tmp_path / COMMITTED)
    names = sorted(os.listdir(tmp_path / COMMITTED), key=lambda name: name == "config.json")
    for name in names[:moved]:
        os.replace(tmp_path / COMMITTED / name, tmp_path / name)
    back = read_pretrained(tmp_path)
    assert back.fingerprint == two[1].fingerprint
    np.testing.assert_array_equal(back.state["bn1.weight"], two[1].state["bn1.weight"])
    assert back.projection is not None
    assert be.load_model(tmp_path).preprocess.size == 96
    write_pretrained(tmp_path, two[0])
    assert sorted(os.listdir(tmp_path)) == ["README.md", "config.json", "model.safetensors"]
    assert read_pretrained(tmp_path).fingerprint == two[0].fingerprint


CHILD = """
import sys
import numpy as np
import birdembed as be
kind, path = sys.argv[1:]
if kind == "index":
    index = be.Index(256)
    index.add([str(i) for i in range(4000)], np.full((4000, 256), 2, "f4"))
    save = index.save
else:
    save = be.Model("resnet50", seed=0).save_pretrained
save(path)
print("ready", flush=True)
while True:
    save(path)
"""


@pytest.mark.parametrize("kind", ["index", "model"])
def test_killed_at_any_moment(tmp_path, kind):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "x.index" if kind == "index" else folder
    rng = np.random.default_rng(1)
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, kind, str(path)], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert child.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.4))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        if kind == "index":
            assert be.Index.load(path).embeddings[3999, 255] == 2
        else:
            assert be.load_model(path).state_dict().keys()
    if kind == "index":
        be.Index(4).save(path)
    else:
        be.Model("resnet50", seed=0).save_pretrained(path)
    assert hidden(folder) == []


@pytest.mark.parametrize("replacing", [files.replacing, files.replacing_dir])
def test_an_error_about_another_file_keeps_its_name(tmp_path, replacing):
    with pytest.raises(FileNotFoundError) as told, replacing(tmp_path / "x"):
        open(tmp_path / "missing.png", "rb")
    assert told.value.filename == str(tmp_path / "missing.png")
    assert not (tmp_path / "x").exists()


def test_a_new_folder_that_another_writer_sweeps_at_once_is_made_again(tmp_path, monkeypatch):
    real, swept = os.open, []

    def late(path, *args, **options):
        if str(path).endswith(".birdembed.tmp") and not swept:
            swept.append(path)
            os.rmdir(path)  # the other writer was faster
        return real(path, *args, **options)

    monkeypatch.setattr(files.os, "open", late)
    write(tmp_path / "x")
    monkeypatch.undo()
    assert swept
    assert (tmp_path / "x").read_text() == "new"
    assert hidden(tmp_path) == []


@pytest.mark.parametrize(("text", "letter"), [("a\0b", "NUL"), ("a\ud800b", r"'\\ud800'")])
def test_folders_that_cannot_exist(text, letter):
    model = be.Model("resnet18", preprocess=be.Preprocess(size=32))
    for call in (be.ImageFolder, be.Index.load, model.save_pretrained):
        with pytest.raises(ValueError, match=f"a path cannot hold .*{letter}") as caught:
            call(text)
        str(caught.value).encode()  # a terminal can print it
    assert files.path_text(b"a\xff") == "a\udcff"  # a byte of a name that is not UTF-8
