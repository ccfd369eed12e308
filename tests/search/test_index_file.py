"""The file of an index: round trip, damage, kills."""

import errno
import json
import os
import pickle
import pickletools
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from birdembed._core import FingerprintMismatch
from birdembed.search.index import Index
from birdembed.search.index_file import IndexFileError
from tests.support.fake_model import FakeModel
from tests.support.indexes import filled, ids, same, vectors


@pytest.fixture
def index():
    return filled()


@pytest.mark.parametrize("mapped", [True, False])
def test_round_trip(index, tmp_path, mapped):
    path = tmp_path / "birds.index"
    index.save(path)
    loaded = Index.load(path, mmap=mapped)
    assert same(loaded, index)
    assert (loaded.search(vectors(3)).scores == index.search(vectors(3)).scores).all()
    # What is loaded can be changed, and written over the file it is mapped from.
    loaded.add(["more"], vectors(1), metadata={"year": [1], "own": [False]})
    loaded.remove("bird 0")
    loaded.save(path)
    assert same(Index.load(path), loaded)
    assert len(index) == 20
    assert os.listdir(tmp_path) == ["birds.index"]


def test_an_empty_index(tmp_path):
    for index in (Index(), Index(dim=5, fingerprint="c" * 64)):
        index.save(tmp_path / "empty")
        loaded = Index.load(tmp_path / "empty")
        assert same(loaded, index)
        loaded.add(["a"], vectors(1, 5))


def test_strings_of_all_kinds(tmp_path):
    names = ["", "ü", "日本", "a\nb", "\udcff", "🦉", "x" * 100_000]
    index = Index()
    index.add(names, vectors(len(names)), names, {"none": [None] * len(names)})
    index.save(tmp_path / "index")
    loaded = Index.load(tmp_path / "index")
    assert loaded.ids.tolist() == loaded.labels.tolist() == names
    assert loaded.metadata["none"].tolist() == [None] * len(names)
    assert loaded.search(vectors(len(names))[2], k=1).ids[0] == "日本"


def test_safetensors_reads_it(index, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    index.save(tmp_path / "index")
    tensors = safetensors.load_file(tmp_path / "index")
    assert (tensors["embeddings"] == index.embeddings).all()
    offsets = tensors["id.offsets"]
    assert tensors["id.bytes"][offsets[3] : offsets[4]].tobytes() == b"bird 3"
    assert (tensors["metadata.year.values"] == index.metadata["year"]).all()


def test_the_header_does_not_grow_with_the_rows(tmp_path):
    sizes = []
    for n in (10, 5000):
        index = Index()
        index.add(ids(n), vectors(n), ["wren"] * n)
        index.save(tmp_path / "index")
        sizes.append(int.from_bytes((tmp_path / "index").read_bytes()[:8], "little"))
    assert sizes[1] <= sizes[0] + 64


def test_embeddings_are_mapped_and_aligned(tmp_path):
    index = Index()
    index.add(ids(500), vectors(500, 301))
    index.save(tmp_path / "index")
    loaded = Index.load(tmp_path / "index")
    assert loaded.embeddings.ctypes.data % 64 == 0
    assert not loaded.embeddings.flags.owndata
    assert not loaded.embeddings.flags.writeable
    maps = Path("/proc/self/maps").read_text()
    assert str(tmp_path / "index") in maps


def test_numbers_of_a_file_that_is_cut_stay(index, tmp_path):
    path = tmp_path / "index"
    index.save(path)
    kept = Index.load(path).metadata
    copied = Index.load(path, mmap=False).embeddings
    os.truncate(path, 0)  # a mapped array would end the process
    for name in ("year", "sharpness", "own"):
        assert kept[name].tolist() == index.metadata[name].tolist()
        assert kept[name].flags.owndata
    assert (copied == index.embeddings).all()


@pytest.mark.parametrize("mapped", [True, False])
def test_truncated_anywhere(index, tmp_path, mapped):
    path = tmp_path / "index"
    index.save(path)
    whole = path.read_bytes()
    for size in [0, 1, 7, 8, 9, 100, *range(200, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(IndexFileError, match="index"):
            Index.load(path, mmap=mapped)
    path.write_bytes(whole + b"x")
    with pytest.raises(IndexFileError, match="bytes of data"):
        Index.load(path, mmap=mapped)
    path.write_bytes(whole)
    assert same(Index.load(path, mmap=mapped), index)


def rewrite(path, change):
    """Change the header of an index file."""
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + size :])


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h["embeddings"].update(shape=[21, 8]),
        lambda h: h["embeddings"].update(shape=[-20, -8]),
        lambda h: h["embeddings"].update(shape=["a"]),
        lambda h: h["embeddings"].update(dtype="F16"),
        lambda h: h["embeddings"].update(data_offsets=[0, 1 << 60]),
        lambda h: h["embeddings"].update(data_offsets=[64, 704]),
        lambda h: h["embeddings"].update(data_offsets=None),
        lambda h: h.update(embeddings=3),
        lambda h: h["embeddings"].update(shape=[160]),
        lambda h: h.pop("embeddings"),
        lambda h: h["__metadata__"].update(format="pt"),
        lambda h: h.pop("__metadata__"),
        lambda h: h.update({"name.offsets": h.pop("id.offsets")}),
        lambda h: h.update({"id.blob": h.pop("id.bytes")}),
        lambda h: h["metadata.year.values"].update(shape=[10, 2]),
    ],
)
def test_a_header_that_does_not_fit(index, tmp_path, change):
    path = tmp_path / "index"
    index.save(path)
    rewrite(path, lambda header: None)
    assert same(Index.load(path), index)
    rewrite(path, change)
    with pytest.raises(IndexFileError, match="index"):
        Index.load(path)


def test_offsets_that_lead_nowhere(index, tmp_path):
    path = tmp_path / "index"
    index.save(path)
    whole = bytearray(path.read_bytes())
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    at = 8 + size + header["id.offsets"]["data_offsets"][0]
    for place, value in ((0, 5), (3, 1 << 40), (3, -1), (20, 3)):
        damaged = bytearray(whole)
        damaged[at + 8 * place : at + 8 * place + 8] = value.to_bytes(8, "little", signed=True)
        path.write_bytes(damaged)
        with pytest.raises(IndexFileError, match="string offsets of 'id'"):
            Index.load(path)


def test_files_that_are_something_else(tmp_path):
    path = tmp_path / "file"
    for content in (b"", b"text", b"PK\3\4" * 100, b"\x05" + bytes(7) + b"[1,2]", b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(IndexFileError, match="file"):
            Index.load(path)
    with pytest.raises(FileNotFoundError, match="nothing"):
        Index.load(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        Index.load(tmp_path)


def test_load_checks_the_model(index, tmp_path):
    index.save(tmp_path / "index")
    with pytest.raises(FingerprintMismatch):
        Index.load(tmp_path / "index", model=FakeModel("b" * 64))
    loaded = Index.load(tmp_path / "index", model=FakeModel("a" * 64, dim=8))
    assert loaded.search(b"picture", k=1).scores.shape == (1,)


def test_an_unwritable_target(index, tmp_path, monkeypatch):
    with pytest.raises(OSError, match="nowhere"):
        index.save(tmp_path / "nowhere" / "index")
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        index.save(tmp_path)
    path = tmp_path / "index"
    index.save(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    index.remove("bird 0")
    with pytest.raises(OSError, match="No space left") as caught:
        index.save(path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["index"]


def test_permissions_are_ordinary(index, tmp_path):
    index.save(tmp_path / "index")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "index").stat().st_mode) == 0o666 & ~mask


def test_killed_while_saving(tmp_path):
    """Whenever it is killed, the file is the old one or the new one, whole."""
    code = """
import sys, numpy as np
from birdembed.search.index import Index
index = Index()
index.add([str(i) for i in range(20_000)], np.ones((20_000, 64), np.float32))
print("ready", flush=True)
while True:
    index.save(sys.argv[1])
"""
    path = tmp_path / "index"
    small = Index()
    small.add(["old"], vectors(1, 64))
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for i in range(5):
        small.save(path)
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, env=env
        )
        process.stdout.readline()
        time.sleep(0.003 * i)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert len(Index.load(path)) in (1, 20_000)


def test_pickles(index):
    assert same(pickle.loads(pickle.dumps(index)), index)


def test_a_pickle_names_public_classes_alone(index, tmp_path):
    """A later version may move its private ones: a file's packed strings are lists in a pickle."""
    index.save(tmp_path / "x.index")
    data = pickle.dumps(Index.load(tmp_path / "x.index"))
    words = {value for _, value, _ in pickletools.genops(data) if isinstance(value, str)}
    assert {word for word in words if word.startswith("birdembed")} == {"birdembed"}
    assert "PackedStrings" not in words
    again = pickle.loads(data)
    again.add("more", again.embeddings[0], metadata={"year": [1], "own": [True]})
    assert len(again) == len(index) + 1
