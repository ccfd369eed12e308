"""ImageFolder from CSV files and tables, and what [] gives."""

import numpy as np
import pytest

from birdembed.data.folder import ImageFolder

CSV = "file,species,note\na.jpg,wren,x\nsub/b.jpg,auk,\n/far/c.jpg,,y\n"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "birds.csv"
    path.write_text(CSV, encoding="utf-8-sig")
    return path


def test_from_csv(table):
    data = ImageFolder.from_csv(table, image="file", label="species")
    root = table.parent
    assert data.paths == [str(root / "a.jpg"), str(root / "sub" / "b.jpg"), "/far/c.jpg"]
    assert data.labels.tolist() == [1, 0, -1]
    assert data.class_names == ["auk", "wren"]


def test_from_csv_elsewhere_with_all_classes_and_without_labels(table):
    names = ["wren", "auk", "owl"]
    data = ImageFolder.from_csv(str(table), "file", "species", root="/photos", class_names=names)
    assert data.paths[0] == "/photos/a.jpg"
    assert data.class_names == names
    assert data.labels.tolist() == [0, 1, -1]
    bare = ImageFolder.from_csv(table, "file", None)
    assert (bare.labels < 0).all()
    assert bare.class_names == []


def test_tabs(tmp_path):
    path = tmp_path / "birds.TSV"
    path.write_text("image\tlabel\na, b.jpg\twren\n")
    data = ImageFolder.from_csv(path)
    assert data.paths == [str(tmp_path / "a, b.jpg")]


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (CSV, {"image": "path"}, ["birds.csv", "'path'", "'file', 'species', 'note'"]),
        (CSV, {"image": "file", "label": "name"}, ["birds.csv", "'name'"]),
        (CSV, {"image": "note", "label": None}, ["birds.csv, line 3", "'note'"]),
        ("", {}, ["birds.csv", "'image'", "none"]),
        (CSV, {"image": "file", "label": "species", "class_names": ["auk"]}, ["'wren'"]),
    ],
)
def test_csv_files_that_do_not_fit(tmp_path, text, options, words):
    path = tmp_path / "birds.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"column|label") as caught:
        ImageFolder.from_csv(path, **options)
    assert all(word in str(caught.value) for word in words), caught.value


COLUMNS = {"image": ["a.jpg", "b.jpg"], "label": ["wren", None]}


@pytest.mark.parametrize("library", ["dict", "pandas", "pyarrow", "polars"])
def test_from_dataframe(library):
    if library == "dict":
        frame = COLUMNS
    elif library == "pyarrow":
        frame = pytest.importorskip("pyarrow").table(COLUMNS)
    else:
        frame = pytest.importorskip(library).DataFrame(COLUMNS)
    data = ImageFolder.from_dataframe(frame, root="/photos")
    assert data.paths == ["/photos/a.jpg", "/photos/b.jpg"]
    assert data.labels.tolist() == [0, -1]
    assert ImageFolder.from_dataframe(frame, label=None).paths == ["a.jpg", "b.jpg"]
    with pytest.raises(ValueError, match=r"'path'.*'image', 'label'"):
        ImageFolder.from_dataframe(frame, image="path")


def test_tables_that_are_none():
    for frame in ("birds.csv", ["a.jpg"], None):
        with pytest.raises(TypeError, match="frame"):
            ImageFolder.from_dataframe(frame)
    with pytest.raises(ValueError, match="position 1"):
        ImageFolder.from_dataframe({"image": ["a", None], "label": ["x", "y"]})


def test_items():
    data = ImageFolder.from_lists(list("abcdef"), ["x", "y", "z", "x", "y", None])
    assert data[0] == "a"
    assert data[np.int64(-1)] == "f"
    assert [data[i] for i in range(len(data))] == list(data)
    for part, paths in (
        (data[1:3], "bc"),
        (data[::-2], "fdb"),
        (data[[5, 0]], "fa"),
        (data[np.array([2, 2])], "cc"),
        (data[data.labels == 1], "be"),
        (data[[]], ""),
    ):
        assert isinstance(part, ImageFolder)
        assert "".join(part.paths) == paths
        assert part.class_names == ["x", "y", "z"]
    assert data[[5, 0]].labels.tolist() == [-1, 0]
    assert not data[1:3].labels.flags.writeable


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (6, IndexError),
        ([7], IndexError),
        ([True, False], IndexError),
        ("a", TypeError),
        (1.0, TypeError),
        ([1.5], TypeError),
        (None, TypeError),
        (True, TypeError),
    ],
)
def test_items_that_are_not_there(key, error):
    data = ImageFolder.from_lists(list("abcdef"), list("xyzxyz"))
    with pytest.raises(error):
        data[key]
