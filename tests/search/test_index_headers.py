"""Test that no header of an index file ends in another error than the package's own."""

import json

import numpy as np
import pytest

import birdembed as be
from birdembed.search.index_file import IndexFileError


@pytest.fixture
def parts(tmp_path):
    """Return the header and the data of a sound index."""
    index = be.Index(4, "f" * 64)
    index.add(["a", "b"], np.ones((2, 4), "f4"), ["x", None], {"n": [1, 2], "t": ["u", None]})
    index.save(tmp_path / "x.index")
    body = (tmp_path / "x.index").read_bytes()
    length = int.from_bytes(body[:8], "little")
    return json.loads(body[8 : 8 + length]), body[8 + length :]


def load(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return be.Index.load(path)


VALUES = [None, True, -1, 0, 1 << 80, 1.5, float("inf"), "a" * 5000, [], {}, [[]], [1], [0, 1e400]]


def test_every_value_of_another_type(tmp_path, parts):
    header, data = parts
    assert len(load(tmp_path / "y.index", header, data)) == 2
    places = [(key,) for key in header]
    places += [(key, part) for key in header for part in header[key]]
    for place in places:
        for value in VALUES:
            odd = json.loads(json.dumps(header))
            target = odd
            for part in place[:-1]:
                target = target[part]
            target[place[-1]] = value
            try:
                index = load(tmp_path / "y.index", odd, data)
                assert index.search(np.ones(4, "f4"), k=1)[0].id in ("a", "b")
                repr(index)
            except IndexFileError as error:
                said = str(error)
            else:
                continue
            assert said.startswith(str(tmp_path / "y.index"))
            assert len(said) < 1000


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes(tmp_path, parts, seed):
    header, data = parts
    text = json.dumps(header).encode()
    rng = np.random.default_rng(seed)
    for _ in range(150):
        odd = bytearray(text)
        for place in rng.integers(0, len(odd), rng.integers(1, 4)):
            odd[place] = rng.integers(0, 256)
        try:
            index = load(tmp_path / "y.index", bytes(odd), data)
            index.search(np.ones(4, "f4"), k=1)
            assert len(index.ids) == len(index.labels) == 2
        except IndexFileError as error:
            said = str(error)
        else:
            continue
        assert str(tmp_path) in said


def test_offsets_whose_differences_overflow(tmp_path):
    index = be.Index(4, "f" * 64)
    index.add(list("abcd"), np.ones((4, 4), "f4"), list("wxyz"))
    index.save(tmp_path / "x.index")
    sound = np.array([0, 1, 2, 3, 4], np.int64).tobytes()
    odd = np.array([0, 2**63 - 1, -(2**63), -1, 4], np.int64).tobytes()
    data = (tmp_path / "x.index").read_bytes()
    assert data.count(sound) == 2
    (tmp_path / "x.index").write_bytes(data.replace(sound, odd))
    with pytest.raises(IndexFileError, match="invalid string offsets"):
        list(be.Index.load(tmp_path / "x.index").ids)


def test_a_column_whose_name_is_no_text(tmp_path):
    index = be.Index(2)
    index.add(["a\udcff"], np.ones((1, 2), "f4"), ["l\udcff"], {"c\udcff": ["v\udcff"]})
    index.save(tmp_path / "x.index")
    again = be.Index.load(tmp_path / "x.index")
    assert list(again.metadata) == ["c\udcff"]
    assert list(again.labels) == ["l\udcff"]


@pytest.mark.parametrize("odd", ["offsets", "values", ".offsets", ".values", "bytes", "a" * 999])
@pytest.mark.parametrize("column", ["id.offsets", "label.bytes", "metadata.n.values"])
def test_names_of_tensors(tmp_path, parts, column, odd):
    header, data = parts
    renamed = {odd if key == column else key: entry for key, entry in header.items()}
    with pytest.raises(IndexFileError, match=r"y\.index: ") as caught:
        load(tmp_path / "y.index", renamed, data)
    assert len(str(caught.value)) < 1000
