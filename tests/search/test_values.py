"""Test the values of an index: gaps, kinds, spellings, columns in folders' names."""

import datetime
import unicodedata
from pathlib import Path

import numpy as np
import pytest

import birdembed as be

EYE = np.eye(4, dtype=np.float32)


def filled():
    index = be.Index(4)
    columns = {"year": [2020, 2021, 2022], "place": ["x", None, "z"], "seen": [True, False, True]}
    index.add(["a", "b", "c"], EYE[:3], ["OWL", None, "JAY"], columns)
    return index


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"year": "2020"}, "'year' holds numbers, got the text '2020'"),
        ({"year": [2020, "2021"]}, "'year' holds numbers, got the text '2021'"),
        ({"place": 7}, "'place' holds text, got the int 7"),
        ({"label": ["OWL", 1.5]}, "'label' holds text, got the float 1.5"),
        ({"id": 0}, "'id' holds text, got the int 0"),
        ({"seen": "True"}, "'seen' holds numbers, got the text 'True'"),
    ],
)
def test_where_of_another_kind_is_an_error(where, message):
    with pytest.raises(ValueError, match=message):
        filled().search(EYE[0], where=where)


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"year": 2020}, "a"),
        ({"year": np.int32(2021)}, "b"),
        ({"year": [2020.0, 2022]}, "ac"),
        ({"place": None}, "b"),
        ({"place": ["x", None]}, "ab"),
        ({"seen": True}, "ac"),
        ({"label": ["OWL", "nobody"]}, "a"),
    ],
)
def test_where_finds(where, ids):
    assert sorted(filled().search(EYE[0], where=where).ids) == [*ids]


def test_two_spellings_of_an_accent_are_one():
    one, two = (unicodedata.normalize(form, "Wendehälse") for form in ("NFC", "NFD"))
    index = be.Index(4)
    index.add([two, "b"], EYE[:2], [two, "OWL"], {"t": [two, "x"]})
    assert one in index
    assert two in index
    assert index.ids[0] == two  # names of files stay as they are
    for where in ({"label": one}, {"label": two}, {"id": one}, {"t": one}, {"t": [two]}):
        assert list(index.search(EYE[0], where=where).ids) == [two]
    assert list(index.search(EYE[0], exclude_ids=[one]).ids) == ["b"]
    with pytest.raises(ValueError, match="already"):
        index.add([one], EYE[:1])
    with pytest.raises(ValueError, match="duplicates"):
        index.add(["c" + one, "c" + two], EYE[:2])
    assert index.labels[0] == one
    index.remove(one)
    assert list(index.ids) == ["b"]


def test_gaps():
    pandas = pytest.importorskip("pandas")
    index = be.Index(4)
    table = pandas.DataFrame(
        {
            "y": pandas.array([1, None, 3], dtype="Int64"),
            "f": [1.5, None, 2.5],
            "t": pandas.array(["u", pandas.NA, "v"], dtype="string"),
        }
    )
    index.add([*"abc"], EYE[:3], pandas.array(["A", pandas.NA, None], dtype="string"), table)
    assert list(index.labels) == ["A", None, None]
    np.testing.assert_array_equal(index.metadata["y"], [1, np.nan, 3])
    assert list(index.metadata["t"]) == ["u", None, "v"]
    gaps = {"seen": pandas.array([True, None], dtype="boolean")}
    with pytest.raises(ValueError, match=r"'seen' has a missing value \(row 1\)"):
        index.add([*"de"], EYE[:2], metadata=gaps)
    data = be.ImageFolder.from_lists(["a", "b", "c"], ["A", pandas.NA, float("nan")])
    assert data.labels.tolist() == [0, -1, -1]
    with pytest.raises(ValueError, match="paths has a missing value at position 1"):
        be.ImageFolder.from_lists(["a", None], ["A", "B"])


@pytest.mark.parametrize("labels", [["OWL", "JAY"], [7, 8], ["a b/c", "ä"]])
def test_columns_in_the_names_of_folders(tmp_path, labels):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    vectors = pa.array(EYE[:2].tolist(), pa.list_(pa.float32()))
    table = pa.table({"id": ["a", "b"], "label": labels, "vector": vectors, "n": [1, 2]})
    parquet.write_to_dataset(table, tmp_path / "birds", partition_cols=["n", "label"])
    index = be.Index.from_parquet(tmp_path / "birds")
    found = dict(zip(index.ids, index.labels, strict=True))
    assert found == {"a": str(labels[0]), "b": str(labels[1])}
    assert sorted(index.metadata["n"].tolist()) == [1, 2]


@pytest.mark.parametrize(
    ("value", "kind"),
    [(b"1", "bytes"), ({"a": 1}, "dict"), ([[1]], "list"), (1j, "complex"), (object(), "object")],
)
def test_where_of_no_number_is_an_error(value, kind):
    with pytest.raises(ValueError, match=f"'year' holds numbers, got the {kind}"):
        filled().search(EYE[0], where={"year": value})


def test_where_of_other_libraries_and_gaps(tmp_path):
    pandas = pytest.importorskip("pandas")
    index = be.Index(4)
    columns = {"depth": [1.0, None, 3.0], "path": ["/p/a", "/p/b", None]}
    index.add(["a", "b", "c"], EYE[:3], ["OWL", None, "JAY"], columns)
    for where, ids in (
        ({"depth": None}, "b"),
        ({"depth": [float("nan"), 3]}, "bc"),
        ({"depth": pandas.NA}, "b"),
        ({"label": pandas.Series(["OWL", None])}, "ab"),
        ({"depth": range(2)}, "a"),
        ({"path": Path("/p/b")}, "b"),
    ):
        assert sorted(index.search(EYE[0], where=where).ids) == [*ids], where


@pytest.mark.parametrize("where", ["label", ["label"], [("label", "OWL")], 5])
def test_where_that_is_no_mapping(where):
    with pytest.raises(TypeError, match="where must be a mapping"):
        filled().search(EYE[0], where=where)


@pytest.mark.parametrize("ids", [5, [5], [None], b"a", [["a"]]])
def test_ids_that_are_no_strings(ids):
    index = filled()
    with pytest.raises(TypeError, match="exclude_ids must be strings"):
        index.search(EYE[0], exclude_ids=ids)
    with pytest.raises(TypeError, match="ids must be strings"):
        index.remove(ids)
    with pytest.raises(TypeError, match=r"ids must be a sequence of strings|ids must be strings"):
        index.add(ids, EYE[3:])
    assert len(index) == 3


def table(**columns):
    pa = pytest.importorskip("pyarrow")
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(EYE[:3].reshape(-1)), 4)
    return pa.table({"id": ["a", "b", "c"], "vector": vectors, **columns})


def test_folder_names_keep_their_zeros(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    rows = table(label=["007", "010", "007"], year=[2020, 2021, 2021])
    pq.write_to_dataset(rows, tmp_path, partition_cols=["year", "label"])
    index = be.Index.from_parquet(tmp_path)
    assert dict(zip(index.ids, index.labels, strict=True)) == {"a": "007", "b": "010", "c": "007"}
    assert sorted(index.metadata["year"]) == [2020, 2021, 2021]


def test_columns_of_text_in_other_types(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    pq.write_table(table(label=[1.0, None, 3.0]), path)  # as pandas writes integers with gaps
    assert be.Index.from_parquet(path).labels.tolist() == ["1", None, "3"]
    pq.write_table(table().set_column(0, "id", pa.array([b"a", b"b", b"c"])), path)
    with pytest.raises(ValueError, match=r"x.parquet: the column id has type binary"):
        be.Index.from_parquet(path)
    damaged = table().replace_schema_metadata({b"birdembed.fingerprint": b"\xff"})
    pq.write_table(damaged, path)
    assert len(be.Index.from_parquet(path)) == 3


BIG = 2**53 + 1  # the first integer that a float cannot hold


def with_columns(metadata, n=2):
    index = be.Index(4)
    index.add([str(row) for row in range(n)], np.eye(4, dtype="f4")[:n], metadata=metadata)
    return index


@pytest.mark.parametrize("values", [[BIG, None], [BIG, 0.5], [-BIG, float("nan")]])
def test_integers_are_exact_or_refused(values):
    assert with_columns({"n": [BIG, 1]}).metadata["n"].tolist() == [BIG, 1]
    with pytest.raises(ValueError, match=f"{values[0]}.*cannot hold exactly; use strings"):
        with_columns({"n": values})
    assert with_columns({"n": [2**53, None]}).metadata["n"][0] == 2**53


def test_fractions_added_to_large_integers():
    index = with_columns({"n": [BIG, 1]})
    with pytest.raises(ValueError, match=f"{BIG}.*cannot hold exactly"):
        index.add("x", np.ones(4), metadata={"n": [0.5]})
    assert index.metadata["n"].tolist() == [BIG, 1]
    small = with_columns({"n": [1, 2]})
    small.add("x", np.ones(4), metadata={"n": [0.5]})
    assert small.metadata["n"].tolist() == [1, 2, 0.5]


@pytest.mark.parametrize(
    ("column", "wanted", "ids"),
    [
        ([float(2**53), 1.5], BIG, []),
        ([float(2**53), 1.5], 2**53, ["0"]),
        ([BIG, 1], [2**53, 1.0], ["1"]),
        ([BIG, 1], [BIG, 0.5], ["0"]),
        ([BIG, 1], [10**30, float("inf")], []),
        ([0.5, 1], [10**400, 1], ["1"]),
        ([True, False], [1, 7], ["0"]),
        ([0, 1], True, ["1"]),
        ([0.25, None], [np.float32(0.25), np.nan], ["0", "1"]),
    ],
)
def test_where_compares_numbers_exactly(column, wanted, ids):
    found = with_columns({"n": column}).search(np.ones(4, "f4"), where={"n": wanted})
    assert sorted(found.ids) == ids


def test_columns_of_one_name_and_paths_of_numbers():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="several columns are named 'k'"):
        with_columns(pandas.DataFrame([[1, 2], [3, 4]], columns=["k", "k"]))
    with pytest.raises(TypeError, match=r"'path' must hold strings, got int \(1\)"):
        with_columns({"path": [1, 2]})
    with pytest.raises(TypeError, match="'t' must hold strings, got timedelta64"):
        with_columns({"t": np.array([1, 2], "m8[s]")})


@pytest.mark.parametrize(
    ("values", "got"),
    [([1, True], "int"), ([2.5, "a"], "float"), ([datetime.date(2024, 5, 1)] * 2, "date")],
)
def test_the_error_for_a_column_of_other_or_several_types_says_what_columns_hold(values, got):
    says = f"'t' must hold strings, got {got} .*only numbers or only booleans: .* with str"
    with pytest.raises(TypeError, match=says):
        with_columns({"t": values})
    texts = [str(value) for value in values]
    assert with_columns({"t": texts}).metadata["t"].tolist() == texts


def test_masked_values_are_not_taken_for_values():
    vectors = np.ma.masked_array(np.eye(4, dtype="f4")[:1], mask=[[0, 1, 0, 0]])
    with pytest.raises(ValueError, match="embeddings has masked values"):
        be.Index(4).add(["a"], vectors)
    with pytest.raises(ValueError, match="query has masked values"):
        with_columns({}).search(vectors)
    with pytest.raises(ValueError, match="image 0 has masked values"):
        be.decode_image(np.ma.masked_array(np.zeros((4, 4, 3), "u1"), mask=True))
    whole = np.ma.masked_array(np.full((4, 4, 3), 7, "u1"))
    assert (be.decode_image(whole) == 7).all()


@pytest.mark.parametrize(
    ("column", "wanted", "ids"),
    [
        (np.float32([0.1, 0.2]), 0.1, ["0"]),
        (np.float32([0.1, 0.2]), [np.float32(0.1), 0.2], ["0", "1"]),
        (np.float32([1 / 3, np.nan]), 1 / 3, ["0"]),
        (np.float32([1 / 3, np.nan]), [1 / 3, None], ["0", "1"]),
        (np.float16([0.1, 70.3]), [0.1, 70.3], ["0", "1"]),
        (np.float32([0.1, 0.2]), 0.1000001, []),
        (np.float32([0.1, 0.2]), [1e300, 1e-300, float("inf")], []),
        (np.float32([2**24, 0.1]), [2**24 + 1, 2.0**24 + 1], []),  # exact, as they are
        (np.float32([0.5, 0.1]), 0.5 + 1e-12, []),
        ([float(np.float32(0.1)), 0.2], 0.1, []),  # of float64: another number
        ([0.5, 1.0], [0.5001, 1.0001], []),  # not taken for float16
    ],
)
def test_where_finds_numbers_of_float32(column, wanted, ids, tmp_path):
    index = with_columns({"n": column})
    index.save(tmp_path / "i")
    for one in (index, be.Index.load(tmp_path / "i")):
        assert sorted(one.search(np.ones(4, "f4"), where={"n": wanted}).ids) == ids


def test_masks_within_lists_are_not_dropped():
    row = np.ma.masked_array([1.0, 2.0, 3.0, 4.0], mask=[0, 1, 0, 0], dtype="f4")
    index = filled()
    with pytest.raises(ValueError, match="query has masked values"):
        index.search([row])
    with pytest.raises(ValueError, match="embeddings has masked values"):
        index.add(["x"], [row])


def test_rows_of_different_lengths():
    ragged = [[1.0, 2.0], [1.0]]
    for name, call in (
        ("embeddings", lambda: be.Index().add(["x", "y"], ragged)),
        ("query", lambda: filled().search(ragged)),
        ("queries", lambda: be.cosine_topk(ragged, EYE, 1)),
        ("corpus", lambda: be.cosine_topk(EYE, ragged, 1)),
        ("a", lambda: be.cosine_similarity(ragged)),
        ("embeddings", lambda: be.retrieval_metrics(ragged, ["a", "b"])),
        ("embeddings", lambda: be.plot_map(ragged)),
    ):
        with pytest.raises(ValueError, match=f"{name} has rows of different lengths"):
            call()


def test_tensors_of_torch():
    torch = pytest.importorskip("torch")
    query = torch.tensor([1.0, 0, 0, 0], requires_grad=True)
    assert filled().search(query, 1).ids.tolist() == ["a"]
    small = torch.ones(4, dtype=torch.bfloat16)
    for wrong in (small, [small]):
        with pytest.raises(TypeError, match=r"query cannot become a NumPy array: .*BFloat16"):
            filled().search(wrong)


def test_what_is_no_id_is_not_in_an_index():
    index = filled()
    assert "a" in index
    assert all(other not in index for other in ([], {}, None, 5, b"a"))


def test_an_open_file_is_no_path(tmp_path):
    with open(tmp_path / "x", "wb") as file:
        for write in (filled().save, filled().to_parquet):
            with pytest.raises(TypeError, match="expected a path, got BufferedWriter"):
                write(file)


def test_names_of_files_that_are_no_utf_8_in_pandas():
    pytest.importorskip("pandas")
    name = "caf\udce9.png"  # of a file system with Latin-1
    index = be.Index()
    index.add([name, "b"], EYE[:2], ["OWL", None], {"path": [f"/x/{name}", None], "t": [name, "c"]})
    assert index.to_pandas().columns.tolist() == ["id", "path", "label", "vector", "t"]
    index.add(
        [name, "b"],
        EYE[:2],
        replace=True,
        metadata={"path": [f"/x/{name}", None], "t": [name, "c"], name: ["x", "y"]},
    )
    table = index.to_pandas()
    assert table[name].tolist() == ["x", "y"]
    assert table["id"].tolist() == [name, "b"]
    assert table["path"].tolist() == [f"/x/{name}", None]
    assert table["t"].tolist() == [name, "c"]
    found = index.search(EYE[:2], k=1).to_pandas()
    assert found["id"].tolist() == [name, "b"]
    assert found["path"].tolist() == [f"/x/{name}", None]
    assert (found["rank"].dtype, found["score"].dtype) == ("int64", "float64")
    plain = index.search(EYE[1], k=1).to_pandas()
    assert (plain["rank"].dtype, plain["score"].dtype) == ("int64", "float64")


def test_numbers_too_large_for_float32():
    index = be.Index()
    index.add(["x"], np.eye(1, 4, dtype="f4"))
    large = np.eye(2, 4)
    large[1, 2] = 1e39
    message = "row 1 has a number that is too large for float32"
    for call in (
        lambda: index.add(["y", "z"], large),
        lambda: index.search(large),
        lambda: be.cosine_similarity(large),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    for wrong in (np.inf, np.nan):
        with pytest.raises(ValueError, match="contain NaN or infinity"):
            index.add("y", [wrong, 0, 0, 0])


def test_empty_lists_add_nothing():
    for index in (be.Index(), be.Index(4)):
        dim = index.dim
        index.add([], [])
        index.add([], [], labels=[])
        assert (len(index), index.dim) == (0, dim)
        index.add(["x"], np.eye(1, 4))
        index.add([], [])
        assert index.ids.tolist() == ["x"]
    with pytest.raises(ValueError, match="different lengths: 1 and 0"):
        index.add(["y"], [])


def test_a_match_that_is_not_there():
    index = be.Index()
    index.add(["x", "y"], np.eye(2, 4, dtype="f4"))
    one, many = index.search(np.eye(4)[0], k=1), index.search(np.eye(2, 4))
    assert one[-1].id == one[np.int64(0)].id == "x"
    for result, number, message in (
        (one, 5, "no match 5: this result has 1 match, numbered from 0"),
        (many, -3, "no query -3: this result has 2 queries, numbered from 0"),
    ):
        with pytest.raises(IndexError, match=message):
            result[number]
    with pytest.raises(TypeError, match=r"a match must be an int or a slice, got 'ids'.*\.ids"):
        one["ids"]
