"""Index: rows and searches."""

import pickle
import sys
import types

import numpy as np
import pytest

from birdembed._core import FingerprintMismatch
from birdembed.search.cosine import cosine_topk
from birdembed.search.index import Index
from tests.support.fake_model import FakeModel
from tests.support.indexes import filled, ids, same, vectors


@pytest.fixture
def index():
    return filled()


# Rows -------------------------------------------------------------------------------------


def test_what_it_holds(index):
    assert len(index) == 20
    assert index.dim == 8
    assert index.embeddings.dtype == np.float32
    assert (index.embeddings == vectors(20)).all()
    assert not index.embeddings.flags.writeable
    assert index.ids.tolist() == ids(20)
    assert index.labels[:4].tolist() == ["wren", "robin", "wren", None]
    assert index.paths[1] == "/pictures/1.jpg"
    assert index.metadata["year"].dtype == np.int64
    assert index.metadata["own"].dtype == bool
    assert index.metadata["sharpness"].dtype == np.float64
    assert "bird 7" in index
    assert "bird 70" not in index
    assert "20 rows" in repr(index)
    assert index.report is None


def test_add_row_by_row_is_add_at_once():
    one, many = Index(), Index()
    for i in range(40):
        one.add(f"bird {i}", vectors(40)[i], f"l{i}", {"n": [i], "t": [str(i)]})
    many.add(
        ids(40),
        vectors(40),
        [f"l{i}" for i in range(40)],
        {"n": range(40), "t": list(map(str, range(40)))},
    )
    assert same(one, many)


@pytest.mark.parametrize("as_", [dict, "frame", "rows"])
def test_forms_of_metadata(as_):
    table = {"year": [1999, 2000], "place": ["a", None]}
    if as_ == "frame":
        metadata = pytest.importorskip("pandas").DataFrame(table)
    elif as_ == "rows":
        metadata = [{"year": 1999, "place": "a"}, {"year": 2000}]
    else:
        metadata = table
    index = Index()
    index.add(["a", "b"], vectors(2), metadata=metadata)
    assert {name: column.tolist() for name, column in index.metadata.items()} == table
    assert index.labels.tolist() == [None, None]
    assert index.paths.tolist() == [None, None]


def test_later_columns():
    index = Index()
    index.add(["a"], vectors(1), metadata={"x": [1.5]})
    index.add(["b"], vectors(1), metadata={"place": ["here"]})
    assert index.metadata["place"].tolist() == [None, "here"]
    np.testing.assert_array_equal(index.metadata["x"], [1.5, np.nan])
    index.add(["c"], vectors(1), metadata={"x": [2]})  # an integer among floats
    assert index.metadata["x"][2] == 2
    with pytest.raises(TypeError, match="'x' holds numbers, got strings"):
        index.add(["d"], vectors(1), metadata={"x": ["two"]})
    with pytest.raises(TypeError, match="'place' holds strings, got numbers"):
        index.add(["d"], vectors(1), metadata={"place": [2]})
    with pytest.raises(ValueError, match=r"'year'.*no values for 3 rows"):
        index.add(["d"], vectors(1), metadata={"year": [2000]})
    assert index.ids.tolist() == ["a", "b", "c"]


def test_replace(index):
    with pytest.raises(ValueError, match="'bird 4' are already in the index"):
        index.add(["bird 4"], vectors(1), metadata={"year": [1], "own": [True]})
    index.add(
        ["new", "bird 4"],
        vectors(2, seed=9),
        ["owl", "auk"],
        {"year": [1, 2], "own": [True, False]},
        replace=True,
    )
    assert len(index) == 21
    assert index.ids[-1] == "new"
    assert (index.embeddings[[20, 4]] == vectors(2, seed=9)).all()
    assert index.labels[[20, 4]].tolist() == ["owl", "auk"]
    assert index.metadata["year"][[20, 4, 5]].tolist() == [1, 2, 2005]
    assert index.paths[[20, 4, 5]].tolist() == [None, None, "/pictures/5.jpg"]
    assert (np.delete(index.embeddings, [4, 20], 0) == np.delete(vectors(20), 4, 0)).all()


def test_remove(index):
    index.remove(["bird 3", "bird 0"])
    index.remove("bird 19")
    left = [i for i in range(20) if i not in (0, 3, 19)]
    assert index.ids.tolist() == [f"bird {i}" for i in left]
    assert (index.embeddings == vectors(20)[left]).all()
    assert index.metadata["year"].tolist() == [2000 + i for i in left]
    assert index.search(vectors(20)[5], k=1).ids.tolist() == ["bird 5"]
    with pytest.raises(KeyError, match="bird 3"):
        index.remove(["bird 1", "bird 3"])
    assert "bird 1" in index
    index.add(["bird 3"], vectors(1), metadata={"year": [1], "own": [True]})
    index.remove(index.ids.tolist())
    assert len(index) == 0
    assert len(index.search(vectors(1)[0])) == 0


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((["x", "x"], vectors(2)), ValueError, "'x' are duplicates"),
        ((["x"], vectors(2)), ValueError, "different lengths: 1 and 2"),
        ((["x"], vectors(1, 9)), ValueError, "9 dimensions, the index has 8"),
        (([1], vectors(1)), TypeError, "ids must be strings, got int"),
        (("xy", vectors(2)), TypeError, "sequence of strings, got one string"),
        ((["x"], np.ones((1, 8), int)), TypeError, "float32.*int64"),
        ((["x"], vectors(1), ["a", "b"]), ValueError, "labels has 2 values, expected 1"),
        ((["x"], vectors(1), [3]), TypeError, "labels must hold strings, got int"),
        ((["x"], vectors(1), None, {"a": [1, 2]}), ValueError, "'a' has 2 values, expected 1"),
        ((["x"], vectors(1), None, {"id": ["y"]}), ValueError, "named 'id'"),
        ((["x"], vectors(1), None, {"a": [object()]}), TypeError, "'a' must hold strings"),
        ((["x"], vectors(1), None, 3), TypeError, "metadata must be a mapping"),
        ((["x"], vectors(1), None, None, "b" * 64), FingerprintMismatch, "bbbbbbbbbbbb.*aaaaaa"),
    ],
)
def test_refusals_leave_it_as_it_was(index, arguments, error, text):
    before = pickle.loads(pickle.dumps(index))
    with pytest.raises(error, match=text):
        index.add(*arguments)
    assert same(index, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_rows_are_refused_by_name(index, bad):
    rows = vectors(3)
    rows[1, 2] = bad
    with pytest.raises(ValueError, match=r"'second' contain NaN"):
        index.add(["first", "second", "third"], rows)
    assert len(index) == 20


def test_fingerprints():
    index = Index()
    index.add(["a"], vectors(1), fingerprint="a" * 64)
    assert index.fingerprint == "a" * 64
    with pytest.raises(FingerprintMismatch):
        index.add(["b"], vectors(1), fingerprint="b" * 64)
    with pytest.raises(FingerprintMismatch):
        index.search(vectors(1), fingerprint="b" * 64)
    with pytest.raises(ValueError, match="different models"):
        Index(fingerprint="a" * 64, model=FakeModel("b" * 64))
    assert Index(model=FakeModel()).fingerprint == "f" * 64


# Searches ---------------------------------------------------------------------------------


def test_one_query_and_many(index):
    queries = vectors(3, seed=5)
    many = index.search(queries, k=4)
    scores, rows = cosine_topk(queries, vectors(20), 4)
    assert (many.scores == scores).all()
    assert (many.indices == rows).all()
    for name in ("ids", "labels", "paths"):
        assert getattr(many, name).shape == (3, 4)
    assert many.ids.tolist() == [[f"bird {row}" for row in line] for line in rows]
    assert len(many) == 3
    for q, one in enumerate(many):
        alone = index.search(queries[q], k=4)
        assert one.scores.shape == alone.scores.shape == (4,)
        assert (one.scores == alone.scores).all()
        assert one.ids.tolist() == alone.ids.tolist()
        assert list(one) == list(alone)
    match = next(iter(many[0]))
    assert match.id == f"bird {rows[0, 0]}"
    assert type(match.score) is float
    assert match.path == f"/pictures/{rows[0, 0]}.jpg"
    assert match.label == index.labels[rows[0, 0]]
    assert match.id in repr(many)
    assert match.id in repr(many[0])
    assert many[0][:2] == list(many[0])[:2]
    assert [result.query for result in many[1:]] == [result.query for result in list(many)[1:]]
    with pytest.raises(IndexError):
        many[3]


def test_fewer_rows_than_k(index):
    for many in (50, 10**15):  # the columns that cannot be filled take no memory
        assert index.search(vectors(2), k=many).scores.shape == (2, 20)
    assert index.search(vectors(2), k=50, where={"label": "wren"}).ids.shape == (2, 10)
    assert index.search(vectors(2), k=5, where={"label": "auk"}).ids.shape == (2, 0)
    assert Index().search(vectors(2)).scores.shape == (2, 0)
    with pytest.raises(ValueError, match="k must be at least 1"):
        index.search(vectors(2), k=0)
    with pytest.raises(ValueError, match="k must be at least 1"):
        Index().search(vectors(2), k=0)


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ({"label": "wren"}, lambda i: i % 2 == 0),
        ({"label": ["robin", "owl"]}, lambda i: i % 2 == 1 and i != 3),
        ({"label": None}, lambda i: i == 3),
        ({"year": 2007}, lambda i: i == 7),
        ({"year": np.array([2001, 2002])}, lambda i: i in (1, 2)),
        ({"own": True, "label": "wren"}, lambda i: i % 6 == 0),
        ({"place": "Zürich"}, lambda i: i % 2 == 0),
        ({"id": ["bird 4", "bird 5"]}, lambda i: i in (4, 5)),
        ({"path": "/pictures/9.jpg"}, lambda i: i == 9),
        ({}, lambda i: True),
    ],
)
def test_where(index, where, wanted, tmp_path):
    index.save(tmp_path / "index")
    for each in (index, Index.load(tmp_path / "index")):
        result = each.search(vectors(1, seed=3)[0], k=20, where=where)
        assert sorted(result.indices.tolist()) == [i for i in range(20) if wanted(i)]


def test_where_names_the_columns(index):
    with pytest.raises(ValueError, match=r"no column 'colour'; .* id, label, path, year"):
        index.search(vectors(1), where={"colour": "red"})


def test_exclude_ids(index):
    query = vectors(20)[6]
    assert index.search(query, k=1).ids[0] == "bird 6"
    result = index.search(query, k=20, exclude_ids=["bird 6", "unknown"])
    assert len(result) == 19
    assert "bird 6" not in result.ids
    assert "bird 6" not in index.search(query, k=20, exclude_ids="bird 6").ids
    both = index.search(query, k=20, exclude_ids=["bird 6"], where={"label": "wren"})
    assert len(both) == 9


def test_to_pandas(index):
    pytest.importorskip("pandas")
    table = index.search(vectors(2), k=3).to_pandas()
    assert list(table.columns) == ["query", "rank", "id", "label", "score", "path"]
    assert table["query"].tolist() == [0, 0, 0, 1, 1, 1]
    assert table["rank"].tolist() == [1, 2, 3] * 2
    assert table["id"][0] == "bird 0"
    assert len(index.search(vectors(2)[0], k=3).to_pandas()) == 3


def test_image_queries(tmp_path):
    files = []
    for i in range(5):
        files.append(tmp_path / f"{i}.jpg")
        files[-1].write_bytes(b"picture %d" % i)
    model = FakeModel()
    index = Index(model=model)
    index.add([file.name for file in files], model.encode(files))
    for one in (str(files[2]), files[2], files[2].read_bytes()):
        result = index.search(one, k=2)
        assert result.scores.shape == (2,)
        assert result.ids[0] == "2.jpg"
        assert result.scores[0] == 1
    many = index.search([files[3], files[1].read_bytes()], k=1)
    assert many.ids.tolist() == [["3.jpg"], ["1.jpg"]]
    assert many.query == [str(files[3]), 1]
    assert index.search(iter(files), k=1).scores.shape == (5, 1)
    picture = np.zeros((4, 4, 3), np.uint8)
    assert index.search(picture, k=1).scores.shape == (1,)
    assert index.search(np.stack([picture] * 2), k=1).scores.shape == (2, 1)
    assert index.search([picture], k=1).scores.shape == (1, 1)


def test_pil_queries():
    image = pytest.importorskip("PIL.Image").new("RGB", (4, 4))
    index = Index(model=FakeModel())
    index.add(["a"], vectors(1, 24))
    assert index.search([image], k=1).scores.shape == (1, 1)


def test_what_a_query_can_be(index):
    want = index.search(vectors(2), k=3).scores
    assert (index.search(vectors(2).astype(np.float64), k=3).scores == want).all()
    assert (index.search(vectors(2).tolist(), k=3).scores == want).all()
    assert (index.search(list(vectors(2)), k=3).scores == want).all()
    assert (index.search(vectors(2)[0].tolist(), k=3).scores == want[0]).all()
    for image in ("x.jpg", b"xx", np.zeros((4, 4, 3), np.uint8), ["x.jpg"]):
        with pytest.raises(ValueError, match="pass model="):
            index.search(image)
    with pytest.raises(ValueError, match="9 dimensions, the index has 8"):
        index.search(vectors(1, 9))
    with pytest.raises(ValueError, match="row 1 "):
        index.search(np.array([[1.0] * 8, [np.nan] * 8]))
    for wrong in (3, None, np.ones((2, 8), int), [3, 4]):
        with pytest.raises(TypeError, match="query must be images"):
            index.search(wrong)
    with pytest.raises(TypeError, match="query 1 is a float"):
        index.search(["x.jpg", 3.0])


def test_the_models_fingerprint_is_checked_at_each_search():
    model = FakeModel()
    index = Index(model=model)
    index.add(["a"], vectors(1, 24))
    model.fingerprint = "0" * 64  # it was trained meanwhile
    with pytest.raises(FingerprintMismatch, match="000000000000"):
        index.search(b"picture")
    with pytest.raises(FingerprintMismatch):
        index.search(vectors(1, 24), fingerprint=model.fingerprint)


def test_plot(tmp_path, index, monkeypatch):
    pytest.importorskip("matplotlib")

    def decode_image(path):
        if path == "/pictures/0.jpg":
            raise FileNotFoundError(f"no such file: {path}")
        return np.zeros((4, 4, 3), np.uint8)

    pixels = types.SimpleNamespace(decode_image=decode_image)
    monkeypatch.setitem(sys.modules, "birdembed.images.decoding", pixels)
    figure = index.search(vectors(3), k=4).plot(title="birds")
    captions = [axes.get_xlabel() for axes in figure.axes]
    assert len(captions) == 15
    assert captions[0] == "query 0"
    assert captions[1] == "wren\n1.000"
    assert "no such file" in figure.axes[1].texts[0].get_text().replace("\n", " ")
    assert figure.axes[6].images
    one = index.search(vectors(3)[0], k=4).plot()
    assert len(one.axes) == 5
    one.savefig(tmp_path / "grid.png")
    assert (tmp_path / "grid.png").stat().st_size > 1000
