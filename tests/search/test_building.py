"""Index.build: which images, which names, and the cache that survives a kill."""

import errno
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from birdembed._core import BirdembedError, DecodeError
from birdembed.data.folder import ImageFolder
from birdembed.search import building, embedding_cache
from birdembed.search.embedding_cache import EmbeddingCache
from birdembed.search.index import Index
from tests.support import ROOT
from tests.support.fake_model import FakeModel


def make(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


@pytest.fixture
def folder(tmp_path):
    return make(
        tmp_path / "birds",
        ["wren/b.jpg", "wren/a.png", "robin/x/deep.jpg", "flat.jpg", ".git/x.jpg", "notes.txt"],
    )


def test_a_folder(folder):
    model = FakeModel()
    index = Index.build(model, folder)
    assert index.ids.tolist() == ["flat.jpg", "robin/x/deep.jpg", "wren/a.png", "wren/b.jpg"]
    assert index.labels.tolist() == [None, "robin", "wren", "wren"]
    assert index.paths.tolist() == [str(folder / name) for name in index.ids]
    assert (index.embeddings == model.encode([folder / name for name in index.ids])).all()
    assert index.fingerprint == model.fingerprint
    assert index.report.kept == [0, 1, 2, 3]
    assert index.report.failures == []
    assert index.report.decoders == ["fake"] * 4
    assert index.search(str(folder / "wren/a.png"), k=1).ids[0] == "wren/a.png"


def test_paths_are_absolute(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert Index.build(FakeModel(), "birds").paths[0] == str(folder / "flat.jpg")


def test_an_image_folder(folder):
    index = Index.build(FakeModel(), ImageFolder(folder, classes=["wren"]))
    assert index.ids.tolist() == ["wren/a.png", "wren/b.jpg"]
    assert index.labels.tolist() == ["wren", "wren"]
    part = ImageFolder.from_lists([folder / "flat.jpg"], [None])
    assert Index.build(FakeModel(), part).labels.tolist() == [None]
    lists = ImageFolder.from_lists([folder / "flat.jpg"], ["owl"])
    index = Index.build(FakeModel(), lists)
    assert index.ids.tolist() == [str(folder / "flat.jpg")]
    assert index.labels.tolist() == ["owl"]


def test_a_list(folder, monkeypatch):
    monkeypatch.chdir(folder)
    picture = np.zeros((2, 2, 3), np.uint8)
    index = Index.build(FakeModel(), iter(["flat.jpg", picture, b"bytes", Path("wren/b.jpg")]))
    assert index.ids.tolist() == ["flat.jpg", "1", "2", "wren/b.jpg"]
    assert index.labels.tolist() == [None] * 4
    assert index.paths.tolist() == [
        str(folder / "flat.jpg"),
        None,
        None,
        str(folder / "wren/b.jpg"),
    ]
    index = Index.build(
        FakeModel(), [picture, picture], ids=["p", "q"], labels=["a", None], metadata={"n": [1, 2]}
    )
    assert index.ids.tolist() == ["p", "q"]
    assert index.labels.tolist() == ["a", None]
    assert index.metadata["n"].tolist() == [1, 2]
    assert "path" not in index.metadata


def test_bad_files_are_skipped_and_named(folder):
    (folder / "wren" / "a.png").write_bytes(b"bad")
    index = Index.build(FakeModel(), folder, metadata={"n": [10, 11, 12, 13]})
    assert index.ids.tolist() == ["flat.jpg", "robin/x/deep.jpg", "wren/b.jpg"]
    assert index.metadata["n"].tolist() == [10, 11, 13]
    bad = str(folder / "wren" / "a.png")
    assert index.report.kept == [0, 1, 3]
    assert [f[:2] for f in index.report.failures] == [(2, bad)]
    assert "no picture" in index.report.failures[0][2]
    assert bad in repr(index.report)
    with pytest.raises(DecodeError, match=r"a\.png"):
        Index.build(FakeModel(), folder, on_error="raise")
    with pytest.raises(ValueError, match="on_error must be"):
        Index.build(FakeModel(), folder, on_error="nan")
    for name in ("flat.jpg", "robin/x/deep.jpg", "wren/b.jpg"):
        (folder / name).write_bytes(b"bad")
    index = Index.build(FakeModel(), folder)
    assert len(index) == 0
    assert len(index.report.failures) == 4


def test_dataset_splits_are_no_labels(tmp_path):
    for part in ("train", "valid"):
        for species in ("auk", "owl"):
            (tmp_path / part / species).mkdir(parents=True)
            (tmp_path / part / species / "a.png").write_bytes(f"{part}{species}".encode())
    model, train = FakeModel(), str(tmp_path / "train")
    for images in (tmp_path, ImageFolder(tmp_path)):
        with pytest.raises(ValueError, match="are dataset splits, not classes") as caught:
            Index.build(model, images)
        assert repr(train) in str(caught.value)
    assert Index.build(model, train).labels.tolist() == ["auk", "owl"]
    own = ["auk", "owl", "auk", "owl"]
    assert Index.build(model, tmp_path, labels=own).labels.tolist() == own


def test_refusals(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Index.build(FakeModel(), tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no images in this folder"):
        Index.build(FakeModel(), make(tmp_path / "none", ["notes.txt"]))
    with pytest.raises(TypeError, match=r"image 1: expected a path.*array of float64"):
        Index.build(FakeModel(), ["x.jpg", np.zeros(3)])
    with pytest.raises(TypeError, match="got one image"):
        Index.build(FakeModel(), b"bytes")
    with pytest.raises(ValueError, match=r"'x\.jpg' are duplicates"):
        Index.build(FakeModel(), [folder / "flat.jpg"] * 2, ids=["x.jpg", "x.jpg"])
    with pytest.raises(ValueError, match="different lengths: 1 and 2"):
        Index.build(FakeModel(), [b"a", b"b"], ids=["x"])


# The cache --------------------------------------------------------------------------------


def build(folder, cache, **options):
    model = FakeModel(**options)
    return Index.build(model, folder, cache=cache), model.encoded


def content(index, path):
    index.save(path)
    return path.read_bytes()


def test_a_second_run_computes_nothing(tmp_path):
    folder = make(tmp_path / "birds", [f"wren/{i:03}.jpg" for i in range(100)])
    first, n = build(folder, tmp_path / "cache")
    assert n == 100
    second, n = build(folder, tmp_path / "cache")
    assert n == 0
    assert content(second, tmp_path / "2") == content(first, tmp_path / "1")
    assert second.report == first.report
    assert content(build(folder, None)[0], tmp_path / "0") == content(first, tmp_path / "1")


def test_new_changed_and_moved_files(tmp_path):
    folder = make(tmp_path / "birds", [f"wren/{i:03}.jpg" for i in range(50)])
    build(folder, tmp_path / "cache")
    make(folder, [f"robin/{i}.jpg" for i in range(10)])
    (folder / "wren" / "007.jpg").write_bytes(b"another bird")
    (folder / "wren" / "008.jpg").rename(folder / "wren" / "renamed.jpg")
    index, n = build(folder, tmp_path / "cache")
    assert n == 11
    assert content(index, tmp_path / "a") == content(build(folder, None)[0], tmp_path / "b")


def test_models_do_not_share(tmp_path):
    folder = make(tmp_path / "birds", ["a.jpg", "b.jpg"])
    build(folder, tmp_path / "cache")
    assert build(folder, tmp_path / "cache", fingerprint="0" * 64)[1] == 2
    assert build(folder, tmp_path / "cache")[1] == 0


def test_equal_files_are_computed_once(tmp_path):
    folder = make(tmp_path / "birds", [f"{i:03}.jpg" for i in range(80)])
    for file in folder.iterdir():
        file.write_bytes(b"the same")
    index, n = build(folder, tmp_path / "cache")
    assert n == 1
    assert len(index) == 80
    assert (index.embeddings == index.embeddings[0]).all()
    assert content(index, tmp_path / "a") == content(build(folder, None)[0], tmp_path / "b")


def test_failures_are_tried_again(tmp_path):
    folder = make(tmp_path / "birds", ["a.jpg", "b.jpg"])
    (folder / "a.jpg").write_bytes(b"bad")
    assert build(folder, tmp_path / "cache")[0].ids.tolist() == ["b.jpg"]
    index, n = build(folder, tmp_path / "cache")
    assert n == 0
    assert len(index.report.failures) == 1
    model = FakeModel()
    model._vector = lambda image: np.ones(24, np.float32)  # another decoder is installed now
    assert len(Index.build(model, folder, cache=tmp_path / "cache")) == 2


def test_a_file_replaced_while_it_is_read_is_not_cached(tmp_path):
    """Its vector belongs to the new content, its key to the old one."""
    folder = make(tmp_path / "birds", ["a.jpg", "b.jpg", "c.jpg"])
    for name in ("b.jpg", "c.jpg"):
        (folder / name).write_bytes(b"a.jpg")
    model, whole = FakeModel(), FakeModel.encode

    def encode(images, *args, **options):
        (folder / "a.jpg").write_bytes(b"another bird")
        return whole(model, images, *args, **options)

    model.encode = encode
    index = Index.build(model, folder, cache=tmp_path / "cache")
    right = FakeModel()
    assert (index.embeddings[0] == right.encode(b"another bird")).all()
    assert (index.embeddings[1:] == right.encode(b"a.jpg")).all()
    (folder / "a.jpg").write_bytes(b"a.jpg")
    again, n = build(folder, tmp_path / "cache")
    assert (again.embeddings == right.encode(b"a.jpg")).all()
    assert n == 1


def test_a_cache_whose_disk_is_full_is_done_without(tmp_path, monkeypatch):
    folder = make(tmp_path / "birds", ["a.jpg", "b.jpg"])

    def put(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(EmbeddingCache, "put", put)
    monkeypatch.setattr(building, "CHUNK", 1)
    with pytest.warns(UserWarning, match="cannot be written .No space left on device.") as said:
        index, n = build(folder, tmp_path / "cache")
    assert len(said) == 1
    assert len(index) == n == 2


def test_arrays_and_bytes_are_cached_too(tmp_path):
    images = [np.full((2, 2, 3), i, np.uint8) for i in range(3)] + [b"bytes"]
    build(images, tmp_path / "cache")
    assert build(images, tmp_path / "cache")[1] == 0
    images[1] = images[1].reshape(1, 4, 3)  # the same bytes in another shape
    assert build(images, tmp_path / "cache")[1] == 1


def the_file(cache):
    (path,) = Path(cache).glob("*.rows")
    return path


RECORD = 32 + 12 + 24 * 4 + 4


@pytest.mark.parametrize("cut", [1, RECORD - 1, RECORD, 3 * RECORD + 5])
def test_a_torn_end_is_cut_off(tmp_path, cut):
    folder = make(tmp_path / "birds", [f"{i:03}.jpg" for i in range(40)])
    whole, _ = build(folder, tmp_path / "cache")
    path = the_file(tmp_path / "cache")
    os.truncate(path, path.stat().st_size - cut)
    index, n = build(folder, tmp_path / "cache")
    assert n == -(-cut // RECORD)
    assert content(index, tmp_path / "a") == content(whole, tmp_path / "b")
    assert build(folder, tmp_path / "cache")[1] == 0


def test_a_damaged_record_is_ignored_computed_again_and_said(tmp_path):
    folder = make(tmp_path / "birds", [f"{i:03}.jpg" for i in range(40)])
    whole, _ = build(folder, tmp_path / "cache")
    path = the_file(tmp_path / "cache")
    data = bytearray(path.read_bytes())
    data[-RECORD * 3 - 20] ^= 1  # in a vector
    path.write_bytes(data)
    with pytest.warns(UserWarning, match=r"record 36 is damaged"):
        index, n = build(folder, tmp_path / "cache")
    assert n == 1
    assert content(index, tmp_path / "a") == content(whole, tmp_path / "b")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build(folder, tmp_path / "cache")[1] == 0  # the new record is found first


def test_a_header_that_was_not_written_to_its_end_is_no_damage(tmp_path):
    """A full disk, or a process that was killed."""
    folder = make(tmp_path / "birds", ["a.jpg"])
    build(folder, tmp_path / "cache")
    path = the_file(tmp_path / "cache")
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build(folder, tmp_path / "cache")[1] == 1
    assert path.read_bytes() == whole
    assert os.listdir(tmp_path / "cache") == [path.name]


@pytest.mark.parametrize("damage", [b"", b"x", b"something else" * 100])
def test_a_damaged_file_is_put_aside_and_said(tmp_path, damage):
    folder = make(tmp_path / "birds", ["a.jpg", "b.jpg"])
    build(folder, tmp_path / "cache")
    path = the_file(tmp_path / "cache")
    path.write_bytes(damage)
    if damage:
        with pytest.warns(UserWarning, match=r"damaged.* renamed to .*\.damaged"):
            assert build(folder, tmp_path / "cache")[1] == 2
    else:  # killed before the first byte
        assert build(folder, tmp_path / "cache")[1] == 2
    assert build(folder, tmp_path / "cache")[1] == 0


def test_a_damaged_file_that_another_process_replaced_stays(tmp_path, monkeypatch):
    folder = make(tmp_path / "birds", ["a.jpg"])
    build(folder, tmp_path / "cache")
    path = the_file(tmp_path / "cache")
    whole = path.read_bytes()

    def replaced(fd, *, wait):
        """Do what another process does while this one waits for the lock."""
        path.unlink()
        if there:
            path.write_bytes(whole)

    for there in (True, False):
        path.write_bytes(b"something else")
        with monkeypatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("error")
            patch.setattr(embedding_cache, "lock", replaced)
            EmbeddingCache(tmp_path / "cache", path.stem)
        assert os.listdir(tmp_path / "cache") == ([path.name] if there else [])


def test_two_writers_at_once(tmp_path):
    one, two = (EmbeddingCache(tmp_path, "a" * 64) for _ in range(2))
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    keys = [bytes([i]) * 32 for i in range(4)]
    one.put(keys[:1], rows[:1], ["a"])
    two.put(keys[1:3], rows[1:3], ["b", "c"])
    one.put(keys[3:], rows[3:], ["d"])
    both = EmbeddingCache(tmp_path, "a" * 64)
    assert len(both) == 4
    for key, row, decoder in zip(keys, rows, "abcd", strict=True):
        got, name = both.get(key)
        assert (got == row).all()
        assert name == decoder
    assert both.get(b"\xff" * 32) is None
    with pytest.raises(BirdembedError, match="has 3 dimensions, got 5"):
        both.put(keys[:1], np.zeros((1, 5), np.float32), ["a"])


def test_an_unwritable_cache(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    folder = make(tmp_path / "birds", ["a.jpg"])
    with pytest.raises(OSError, match="file"):
        build(folder, tmp_path / "file")


KILLED = """
import sys
from tests.support.fake_model import FakeModel
from birdembed.search.index import Index
folder, cache, log, out = sys.argv[1:]
index = Index.build(FakeModel(log=log, seconds=0.002), folder, cache=cache)
index.save(out)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_half_way(tmp_path, how):
    """The second run computes what is missing and writes the same index."""
    n = 400
    folder = make(tmp_path / "birds", [f"wren/{i:03}.jpg" for i in range(n)])
    log, cache = tmp_path / "log", tmp_path / "cache"
    command = [sys.executable, "-c", KILLED, str(folder), str(cache), str(log)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}

    def computed():
        return log.stat().st_size if log.exists() else 0

    process = subprocess.Popen([*command, str(tmp_path / "1")], env=env, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while computed() < n // 2 and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(how)
    assert process.wait(timeout=30) != 0
    half = computed()
    assert n // 2 <= half < n
    assert not (tmp_path / "1").exists()

    subprocess.run([*command, str(tmp_path / "2")], env=env, check=True)
    again = computed() - half
    assert n - half <= again <= n - half + 32  # at most the rows in flight are lost
    assert (tmp_path / "2").read_bytes() == content(build(folder, None)[0], tmp_path / "3")


def test_pipes_and_devices_in_a_folder_have_no_content_key(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert building.content_key(str(tmp_path / "pipe.jpg")) is None
    assert building.content_key("/dev/zero") is None


def test_a_cache_that_another_program_cuts_is_computed_again(folder, tmp_path):
    model = FakeModel()
    before = Index.build(model, folder, cache=tmp_path / "cache").embeddings
    store = EmbeddingCache(tmp_path / "cache", model.fingerprint)
    os.truncate(store.path, 200)
    keys = [building.content_key(str(path)) for path in folder.rglob("*.[jp]*g")]
    assert None not in keys
    with pytest.warns(UserWarning, match="damaged"):  # and no SIGBUS
        assert all(store.get(key) is None for key in keys)
    assert (Index.build(model, folder, cache=tmp_path / "cache").embeddings == before).all()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", None], r"missing value \(None\) at position 1"),
        ([float("nan"), "b"], r"missing value \(nan\) at position 0"),
        ([b"a", "b"], r"bytes \(b'a'\) at position 0"),
        ("ab", "sequence of strings"),
        (5, "sequence of strings"),
    ],
)
def test_ids_that_are_no_strings(folder, ids, message):
    paths = [folder / "flat.jpg", folder / "wren/b.jpg"]
    with pytest.raises(TypeError, match=f"ids must .*{message}"):
        Index.build(FakeModel(), paths, ids=ids)
    assert Index.build(FakeModel(), paths, ids=[7, np.int64(8)]).ids.tolist() == ["7", "8"]


def test_duplicate_ids_are_found_before_the_work(folder):
    model = FakeModel()
    paths = [folder / "flat.jpg", folder / "wren/b.jpg"]
    for images, ids in (([paths[0]] * 2, None), (paths, ["a", "a"])):
        with pytest.raises(ValueError, match="are duplicates; ids must be unique"):
            Index.build(model, images, ids=ids)
    assert model.encoded == 0
