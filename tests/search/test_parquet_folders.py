"""Folders of Parquet files: models, schemas and the columns that the folders name."""

import numpy as np
import pytest

import birdembed as be

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: extra parquet")
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: extra parquet")

EYE = np.eye(4, dtype=np.float32)


def write(path, ids, row=0, dim=4, **columns):
    """Write a file of one model's vectors, as another program would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    vectors = np.eye(8, dim)[row : row + len(ids)].tolist()
    pq.write_table(pa.table({"id": ids, "vector": vectors, **columns}), path)


def labels(folder):
    index = be.Index.from_parquet(folder)
    return dict(zip(index.ids, index.labels, strict=True))


def test_files_of_two_models_are_refused(tmp_path):
    for n, name in enumerate("ab"):
        index = be.Index(fingerprint=name * 64)
        index.add([name], np.eye(2, 4 + n)[n : n + 1])  # of other dimensions, too
        index.to_parquet(tmp_path / f"{n}.parquet")
    with pytest.raises(be.FingerprintMismatch, match=r"1\.parquet.*bbb.*0\.parquet.*aaa"):
        be.Index.from_parquet(tmp_path)
    (tmp_path / "0.parquet").unlink()
    assert be.Index.from_parquet(tmp_path).fingerprint == "b" * 64
    write(tmp_path / "0.parquet", ["x"], dim=5)  # of an unknown model
    assert be.Index.from_parquet(tmp_path).fingerprint == "b" * 64
    write(tmp_path / "2.parquet", ["y"], dim=4)
    with pytest.raises(ValueError, match=r"vectors have different lengths: \[4, 5\]"):
        be.Index.from_parquet(tmp_path)


def test_columns_that_only_some_files_have(tmp_path):
    write(tmp_path / "0.parquet", ["a"], n=[1])
    write(tmp_path / "1.parquet", ["b"], row=1, label=["OWL"], place=["wood"])
    write(tmp_path / "2.parquet", ["c"], row=2, label=pa.array([7], pa.int8()), n=[0.5])
    index = be.Index.from_parquet(tmp_path)
    assert index.ids.tolist() == ["a", "b", "c"]
    assert index.labels.tolist() == [None, "OWL", "7"]
    assert index.metadata["place"].tolist() == [None, "wood", None]
    np.testing.assert_array_equal(index.metadata["n"], [1, np.nan, 0.5])
    assert (index.embeddings == EYE[:3]).all()


def test_a_column_of_gaps_in_one_file_and_of_text_in_another(tmp_path):
    write(tmp_path / "0.parquet", ["a"], label=pa.nulls(1))
    write(tmp_path / "1.parquet", ["b"], label=pa.array(["OWL"]).dictionary_encode())
    write(tmp_path / "2.parquet", ["c"], label=pa.array(["JAY"], pa.large_string()))
    assert labels(tmp_path) == {"a": None, "b": "OWL", "c": "JAY"}


def test_columns_of_text_and_of_numbers_are_refused(tmp_path):
    write(tmp_path / "0.parquet", ["a"], n=["x"])
    write(tmp_path / "1.parquet", ["b"], n=[1])
    with pytest.raises(TypeError, match=f"{tmp_path.name}.*'n' must hold strings, got int"):
        be.Index.from_parquet(tmp_path)


@pytest.mark.parametrize(
    ("sites", "values"),
    [
        (["0012", "0100"], ["0012", "0100"]),
        (["12", "007"], ["12", "007"]),  # one of them would change
        (["+5"], ["+5"]),
        (["1_0"], ["1_0"]),
        (["99999999999999999999"], ["99999999999999999999"]),
        (["1.50"], ["1.50"]),
        (["12", "-7"], [12, -7]),
        (["12", "__HIVE_DEFAULT_PARTITION__"], [12, None]),
        (["a%2Fb", "ä"], ["a/b", "ä"]),
    ],
)
def test_columns_in_the_names_of_folders_keep_their_text(tmp_path, sites, values):
    for n, site in enumerate(sites):
        write(tmp_path / f"site={site}" / "0.parquet", [site], row=n)
    index = be.Index.from_parquet(tmp_path)
    found = dict(zip(index.ids, index.metadata["site"].tolist(), strict=True))
    wanted = [float("nan") if value is None else value for value in values]
    assert [found[site] for site in sites] == pytest.approx(wanted, nan_ok=True)


def test_a_folder_without_a_value(tmp_path):
    write(tmp_path / "label=__HIVE_DEFAULT_PARTITION__" / "0.parquet", ["a"])
    assert labels(tmp_path) == {"a": None}
    write(tmp_path / "label=OWL" / "0.parquet", ["b"])
    assert labels(tmp_path) == {"a": None, "b": "OWL"}


def test_a_file_that_contradicts_its_folder_is_refused(tmp_path):
    path = tmp_path / "label=OWL" / "n=7" / "0.parquet"
    write(path, ["a", "b"], label=["OWL", "GULL"])
    with pytest.raises(ValueError, match=r"0\.parquet: .* label=OWL, but .* label .* 'GULL'"):
        be.Index.from_parquet(tmp_path)
    write(path, ["a", "b"], label=["OWL", None], n=[7, 7])
    assert labels(tmp_path) == {"a": "OWL", "b": "OWL"}
    assert be.Index.from_parquet(tmp_path).metadata["n"].tolist() == [7, 7]
    other = tmp_path / "label=Cafe\u0301" / "0.parquet"
    write(other, ["c"], label=["Caf\u00e9"])  # two spellings of the same
    assert labels(tmp_path)["c"] == "Caf\u00e9"
    write(path, ["a", "b"], n=[7, 8])
    with pytest.raises(ValueError, match="n=7, but the column n in the file has 8"):
        be.Index.from_parquet(tmp_path)


def test_what_is_skipped_is_said_once(tmp_path, monkeypatch):
    for n in range(3):
        vectors = pa.array([[float(n), 1.0], None])
        table = {"id": [f"{n}", f"no {n}"], "vector": vectors, "boxes": [[1], [2]]}
        (tmp_path / "birds").mkdir(exist_ok=True)
        pq.write_table(pa.table(table), tmp_path / "birds" / f"{n}.parquet")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="skipped") as said:
        index = be.Index.from_parquet("birds")
    assert index.ids.tolist() == ["0", "1", "2"]
    first, second = (str(one.message) for one in said)
    assert first.startswith("birds: ")
    assert "boxes (list<" in first
    assert second == "birds: skipped rows without a vector: 'no 0', 'no 1', 'no 2'"
    assert {one.filename for one in said} == {__file__}


def test_folders_of_no_rows(tmp_path):
    with pytest.raises(ValueError, match="no column id and no column vector"):
        be.Index.from_parquet(tmp_path)
    for n in range(2):
        be.Index(dim=8, fingerprint="a" * 64).to_parquet(tmp_path / f"{n}.parquet")
    index = be.Index.from_parquet(tmp_path)
    assert (len(index), index.dim, index.fingerprint) == (0, 8, "a" * 64)
