"""Test an index that several threads use."""

import os
import pickle
import shutil
import sys
import threading

import numpy as np
import pytest

import birdembed as be
from birdembed.search.index_file import IndexFileError
from birdembed.search.shared_rows import rows_of

DIM = 16


@pytest.fixture(autouse=True)
def often():
    """Switch threads as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def vector(number):
    return np.full(DIM, number, np.float32)


def together(*calls):
    errors = []

    def run(call):
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert not any(thread.is_alive() for thread in threads)


def check(rows):
    """Check that every row has its own label, value and vector."""
    assert len(rows.labels) == len(rows) == len(rows.vectors)
    for row, id_ in enumerate(rows.ids):
        assert rows.labels[row] == id_
        assert rows.columns["own"][row] == id_
        assert rows.vectors[row, 0] == float(id_) == rows.columns["number"][row]
        assert rows.place(id_) == row


def add(index, number, **options):
    id_ = str(number)
    index.add([id_], vector(number)[None], [id_], {"own": [id_], "number": [number]}, **options)


def test_rows_from_several_threads_keep_what_belongs_to_them():
    index = be.Index(DIM)

    def adding(first):
        for number in range(first, first + 150):
            add(index, number)
            if number % 3 == 0:
                index.remove([str(number)])
            if number % 7 == 0:
                add(index, number, replace=True)

    def reading():
        for _ in range(60):
            check(rows_of(index))

    together(*(lambda first=first: adding(first) for first in (1, 1001, 2001)), reading)
    check(rows_of(index))
    wanted = {
        str(n)
        for first in (1, 1001, 2001)
        for n in range(first, first + 150)
        if n % 3 or n % 7 == 0
    }
    assert set(index.ids) == wanted
    assert len(index) == len(wanted)


def test_searching_beside_changes_names_the_right_row(tmp_path):
    index = be.Index(DIM)
    axis = np.eye(2, DIM, dtype=np.float32)
    index.add([f"a{i}" for i in range(100)], axis[[1] * 100])
    index.add(["wanted"], axis[:1])
    index.add([f"b{i}" for i in range(100)], axis[[1] * 100])
    done = threading.Event()

    def changing():
        try:
            for i in range(100):
                index.remove([f"a{i}"])
                index.remove([f"b{i}"])
                index.add([f"b{i}"], axis[1:])
        finally:
            done.set()

    def searching():
        while not done.is_set():
            best = index.search(axis[0], k=1, exclude_ids=["nobody"])[0]
            assert best.id == "wanted"
            assert best.score == 1.0

    def saving():
        while not done.is_set():
            index.save(tmp_path / "x.index")
            loaded = be.Index.load(tmp_path / "x.index", mmap=False)
            assert loaded.search(axis[0], k=1)[0].id == "wanted"

    together(changing, searching, saving)


def test_a_table_that_was_read_does_not_change():
    index = be.Index(DIM)
    add(index, 1)
    add(index, 2)
    rows, vectors = rows_of(index), index.embeddings
    add(index, 3)
    add(index, 2, replace=True)
    index.remove("1")
    assert list(rows.ids) == list(rows.labels) == ["1", "2"]
    assert rows.place("3") is None
    assert rows.place("1") == 0
    np.testing.assert_array_equal(vectors[:, 0], [1, 2])
    assert list(index.ids) == ["2", "3"]


def test_two_tables_grow_from_one():
    index = be.Index(DIM)
    for number in range(1, 6):
        add(index, number)
    rows = rows_of(index)
    add(index, 6)
    other = rows.added(["7"], vector(7)[None], ["7"], {"own": ["7"], "number": [7]})
    check(other)
    check(rows_of(index))
    assert list(other.ids) == [*"123457"]
    assert list(index.ids) == [*"123456"]
    assert other.place("6") is None


def test_an_addition_that_fails_leaves_the_rows(monkeypatch):
    index = be.Index(DIM)
    for number in range(1, 6):
        add(index, number)
    from birdembed.search import columns

    merge, calls = columns.merge, []

    def failing(*args):
        calls.append(args)
        if len(calls) == 3:
            raise MemoryError
        return merge(*args)

    monkeypatch.setattr(columns, "merge", failing)
    with pytest.raises(MemoryError):
        add(index, 6)
    check(rows_of(index))
    assert len(index) == 5
    add(index, 7)
    check(rows_of(index))


def test_iterables_that_use_the_index_themselves():
    """They are read before the lock is taken, so nothing waits for ever."""
    index = be.Index(DIM)
    add(index, 0)

    def labels():
        add(index, 7)
        yield "1"

    def adding():
        index.add(["1"], vector(1)[None], labels(), {"own": ["1"], "number": [1]})

    def leaving():
        add(index, 8)
        yield "0"

    together(adding)
    together(lambda: index.remove(leaving()))
    assert sorted(index.ids) == ["1", "7", "8"]
    check(rows_of(index))


def test_a_copy_by_pickle_has_a_lock_of_its_own():
    index = be.Index(DIM)
    add(index, 1)
    again = pickle.loads(pickle.dumps(index))
    add(again, 2)
    assert len(index) == 1
    assert len(again) == 2


# Mapped files ------------------------------------------------------------------------------


def saved(path, numbers):
    index = be.Index(DIM)
    for number in numbers:
        add(index, number)
    index.save(path)
    return path


def test_a_file_that_was_written_into_is_noticed(tmp_path):
    path = saved(tmp_path / "x.index", range(1, 50))
    index = be.Index.load(path)
    shutil.copyfile(saved(tmp_path / "y.index", range(1, 3)), path)
    for call in (
        lambda: index.search(vector(1)),
        lambda: index.ids,
        lambda: index.embeddings,
        lambda: index.metadata,
        lambda: "1" in index,
        lambda: add(index, 99),
        lambda: index.save(tmp_path / "z.index"),
        lambda: repr(index),
        lambda: pickle.dumps(index),
    ):
        with pytest.raises(IndexFileError, match=r"x\.index: .*overwritten.*mmap=False"):
            call()
    assert len(be.Index.load(path)) == 2


class Overwriting:
    """A model that takes long enough for the index file to be overwritten."""

    fingerprint = "f"

    def __init__(self, path):
        self.path = path

    def encode(self, images, *args, **options):
        os.truncate(self.path, 10)
        return vector(1)


def test_a_file_that_is_written_into_while_a_query_is_encoded_is_noticed(tmp_path):
    path = saved(tmp_path / "x.index", [1, 2])
    index = be.Index.load(path)
    index.fingerprint, index.model = "f", Overwriting(path)
    with pytest.raises(IndexFileError, match="overwritten"):
        index.search(b"a picture", k=1)


def test_a_file_of_the_same_size_written_in_place_is_noticed(tmp_path):
    path = saved(tmp_path / "x.index", [1, 2])
    index = be.Index.load(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(IndexFileError):
        index.search(vector(1))


def test_a_file_that_was_replaced_or_removed_stays_what_it_was(tmp_path):
    path = saved(tmp_path / "x.index", [1, 2])
    index, read = be.Index.load(path), be.Index.load(path, mmap=False)
    saved(path, [3])
    assert list(index.ids) == ["1", "2"]
    os.unlink(path)
    assert list(index.ids) == list(read.ids) == ["1", "2"]
    open(path, "wb").close()
    assert list(read.ids) == ["1", "2"]


def test_loading_leaves_no_file_open(tmp_path):
    path = saved(tmp_path / "x.index", [1])
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    for _ in range(5):
        be.Index.load(path)
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before
