"""An index as a Parquet file, a table of pandas and an index of faiss, each read by its own."""

import csv
import os

import numpy as np
import pytest

import birdembed as be
from birdembed.cli import main
from tests.support.indexes import filled, same, vectors

# --- Parquet -------------------------------------------------------------------------


@pytest.fixture
def parquet():
    return pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: extra parquet")


def test_parquet_goes_there_and_back(tmp_path, parquet):
    index, path = filled(), tmp_path / "birds.parquet"
    index.to_parquet(path)
    assert same(be.Index.from_parquet(path), index)
    table = parquet.read_table(path)
    assert table.column_names[:4] == ["id", "path", "label", "vector"]
    assert table.column("label").to_pylist() == index.labels.tolist()
    assert (np.asarray(table.column("vector").to_pylist(), "f4") == index.embeddings).all()
    assert table.schema.metadata[b"birdembed.fingerprint"] == b"a" * 64
    assert os.listdir(tmp_path) == ["birds.parquet"]


def test_mapped_index_goes_there_too(tmp_path, parquet):
    index = filled()
    index.save(tmp_path / "birds.index")
    be.Index.load(tmp_path / "birds.index").to_parquet(tmp_path / "birds.parquet")
    assert same(be.Index.from_parquet(tmp_path / "birds.parquet"), index)


def test_parquet_of_no_rows(tmp_path, parquet):
    index = be.Index(dim=8, fingerprint="a" * 64)
    index.to_parquet(tmp_path / "x.parquet")
    assert same(be.Index.from_parquet(tmp_path / "x.parquet"), index)


def test_parquet_checks_the_model(tmp_path, parquet, model):
    filled().to_parquet(tmp_path / "x.parquet")
    with pytest.raises(be.FingerprintMismatch):
        be.Index.from_parquet(tmp_path / "x.parquet", model=model)


def test_parquet_is_written_whole_or_not_at_all(tmp_path, parquet, monkeypatch):
    path = tmp_path / "x.parquet"
    filled().to_parquet(path)
    before = path.read_bytes()

    def fail(table, where, **_):
        with open(where, "wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device", os.fspath(where))

    monkeypatch.setattr(parquet, "write_table", fail)
    with pytest.raises(OSError, match=r"x\.parquet"):
        filled().to_parquet(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.parquet"]
    with pytest.raises(IsADirectoryError, match="folder"):
        filled().to_parquet(tmp_path)


def test_parquet_that_is_none(tmp_path, parquet):
    (tmp_path / "x.parquet").write_bytes(b"no table at all")
    with pytest.raises(ValueError, match=r"x\.parquet"):
        be.Index.from_parquet(tmp_path / "x.parquet")
    with pytest.raises(FileNotFoundError, match=r"y\.parquet"):
        be.Index.from_parquet(tmp_path / "y.parquet")


def test_parquet_of_others(tmp_path, parquet):
    """A folder of files, vectors as lists of doubles, narrow numbers, dictionaries."""
    import pyarrow as pa

    rows = vectors(4)
    for part in (0, 1):
        table = {
            "id": [f"{2 * part}", f"{2 * part + 1}"],
            "vector": pa.array(rows[2 * part : 2 * part + 2].astype("f8").tolist()),
            "label": pa.array(["wren", "robin"]).dictionary_encode(),
            "n": pa.array([part, None], pa.int16()),
        }
        parquet.write_table(pa.table(table), tmp_path / f"{part}.parquet")
    index = be.Index.from_parquet(tmp_path)
    assert index.ids.tolist() == ["0", "1", "2", "3"]
    assert (index.embeddings == rows).all()
    assert index.labels.tolist() == ["wren", "robin"] * 2
    np.testing.assert_array_equal(index.metadata["n"], [0, np.nan, 1, np.nan])
    table = {"id": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}
    parquet.write_table(pa.table(table), tmp_path / "ragged.parquet")
    with pytest.raises(ValueError, match="different lengths"):
        be.Index.from_parquet(tmp_path / "ragged.parquet")
    table = {"id": ["a", "a"], "vector": [[1.0], [2.0]]}
    parquet.write_table(pa.table(table), tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match=r"twice\.parquet.*are duplicates"):
        be.Index.from_parquet(tmp_path / "twice.parquet")


def test_text_that_is_no_text(tmp_path, parquet):
    index = be.Index()
    index.add([os.fsdecode(b"bird\xff.jpg")], vectors(1))
    with pytest.raises(ValueError, match=r"column 'id'.*UTF-8"):
        index.to_parquet(tmp_path / "x.parquet")
    assert not os.listdir(tmp_path)


def test_column_named_vector(tmp_path, parquet):
    index = be.Index()
    index.add(["a"], vectors(1), metadata={"vector": [1.0]})
    with pytest.raises(ValueError, match="'vector'"):
        index.to_parquet(tmp_path / "x.parquet")


def test_embed_writes_the_same_three_ways(tmp_path, parquet, photos, model_dir, capsys):
    files = [str(tmp_path / f"x.{kind}") for kind in ("npy", "csv", "parquet")]
    cache = ["--cache", str(tmp_path / "cache"), "--model", model_dir]
    for file in files:
        assert main(["embed", str(photos), "-o", file, *cache]) == 0
    index = be.Index.from_parquet(files[2])
    assert (np.load(files[0]) == index.embeddings).all()
    with open(files[1], newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[0] for row in rows] == index.ids.tolist()
    assert (np.asarray([row[2:] for row in rows], "f4") == index.embeddings).all()
    assert index.fingerprint == be.load_model(model_dir).fingerprint


# --- pandas --------------------------------------------------------------------------


def test_pandas():
    pytest.importorskip("pandas", reason="pandas is not installed: extra pandas")
    index = filled()
    table = index.to_pandas()
    assert table.columns.tolist() == [
        "id",
        "path",
        "label",
        "vector",
        "year",
        "sharpness",
        "own",
        "place",
    ]
    assert table["id"].tolist() == index.ids.tolist()
    assert (np.stack(table["vector"]) == index.embeddings).all()
    assert table["vector"][0].dtype == np.float32
    assert table[table.year > 2015].own.tolist() == [False, False, True, False]
    table["vector"][0][:] = 0  # the table is its own
    assert same(index, filled())
    back = be.Index(fingerprint="a" * 64)
    text = table.drop(columns=["id", "label", "vector"])
    back.add(table["id"], filled().embeddings, table["label"], text)
    assert same(back, index)


# --- faiss ---------------------------------------------------------------------------


def test_faiss_finds_the_same():
    faiss = pytest.importorskip("faiss", reason="faiss is not installed: extra faiss")
    index = filled()
    made = index.to_faiss()
    assert (made.ntotal, made.d) == (20, 8)
    assert made.metric_type == faiss.METRIC_INNER_PRODUCT
    queries = vectors(3, seed=9)
    unit = queries.copy()
    faiss.normalize_L2(unit)
    scores, rows = made.search(unit, 5)
    ours = index.search(queries, 5)
    assert (index.ids[rows] == ours.ids).all()
    np.testing.assert_allclose(scores, ours.scores, atol=1e-6)


def test_faiss_of_zeros_and_of_nothing():
    pytest.importorskip("faiss", reason="faiss is not installed: extra faiss")
    index = be.Index()
    with pytest.raises(ValueError, match="empty"):
        index.to_faiss()
    index.add(["zero", "one"], np.asarray([[0, 0], [0, 2]], "f4"))
    scores, rows = index.to_faiss().search(np.asarray([[0, 1]], "f4"), 2)
    assert rows.tolist() == [[1, 0]]
    assert scores.tolist() == [[1, 0]]
    assert be.Index(dim=4).to_faiss().ntotal == 0
