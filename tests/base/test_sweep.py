"""What killed writers left goes with the next write; what others wrote or are writing stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from birdembed.base import files
from birdembed.base.files import replacing, sweep
from tests.support.files import hidden, write

ROOT = Path(__file__).resolve().parents[2]


HEX = "0123456789abcdef"  # as in the name of an unfinished folder


@pytest.mark.parametrize("name", [f".x.{HEX}.birdembed.tmp", f".a\nb.{HEX}.birdembed.tmp"])
def test_what_dead_processes_left_goes(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "new").write_text("half")
    write(tmp_path / "y")
    assert os.listdir(tmp_path) == ["y"]


def test_a_killed_writer_leaves_such_a_folder(tmp_path):
    code = (
        "import os, sys; from birdembed.base.files import replacing\n"
        "with replacing(sys.argv[1]) as path:\n"
        "    path.write_text('half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], cwd=ROOT, check=False)
    (left,) = os.listdir(tmp_path)
    assert files.is_unfinished(left)
    write(tmp_path / "y")
    assert os.listdir(tmp_path) == ["y"]


NOT_OURS = [
    *(".mine.tmp", "x.birdembed.tmp", ".x.tmp", ".tmp", ".birdembed.tmp", ".x.birdembed.tmp"),
    # Of other programs, with the id of a process that is gone.
    *(".save.99999999.tmp", ".notes.99999999.abcdef.tmp", ".project.4194305.0123abcd.tmp"),
    *(f".x.{HEX}.tmp", f"x.{HEX}.birdembed.tmp", f".x.{HEX}.birdembed.tmp.bak"),
]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_not_ours_stays(tmp_path, kind):
    for name in NOT_OURS:
        if kind == "folder":
            (tmp_path / name).mkdir()
        (tmp_path / name / "thesis" if kind == "folder" else tmp_path / name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    write(tmp_path / "y")
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "y"])


def test_a_name_like_ours_that_is_no_folder_stays(tmp_path):
    far = tmp_path / "far"
    far.mkdir()
    (far / "mine").write_text("mine")
    os.symlink(far, tmp_path / f".link.{HEX}.birdembed.tmp")
    (tmp_path / f".file.{HEX}.birdembed.tmp").write_text("mine")
    os.mkfifo(tmp_path / f".fifo.{HEX}.birdembed.tmp")
    write(tmp_path / "y")
    assert len(hidden(tmp_path)) == 3
    assert os.listdir(far) == ["mine"]


def test_what_a_living_process_writes_stays(tmp_path):
    code = (
        "import sys; from birdembed.base.files import replacing\n"
        "with replacing(sys.argv[1]) as path:\n"
        "    path.write_text('theirs'); print('ready', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "x")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdout.readline() == b"ready\n"
    with replacing(tmp_path / "x") as mine:
        sweep(tmp_path)
        assert len(hidden(tmp_path)) == 2
        mine.write_text("mine")
    assert (tmp_path / "x").read_text() == "mine"
    child.communicate()
    assert child.returncode == 0
    assert (tmp_path / "x").read_text() == "theirs"
    assert hidden(tmp_path) == []


def test_a_sweep_between_making_and_locking(tmp_path, monkeypatch):
    real, calls = files.lock, []

    def late(fd, *, wait):
        if not calls:
            calls.append(fd)
            sweep(tmp_path)
        return real(fd, wait=wait)

    monkeypatch.setattr(files, "lock", late)
    write(tmp_path / "x")
    assert (tmp_path / "x").read_text() == "new"
    assert os.listdir(tmp_path) == ["x"]
