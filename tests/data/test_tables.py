"""ImageFolder from CSV files and tables, and what [] gives."""

import os

import numpy as np
import pytest

import birdembed as be
from birdembed.data.folder import ImageFolder
from birdembed.data.parts import image_folder
from birdembed.species.labelled import labelled_vectors

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
    ("text", "name"),
    [
        ("image;label\na, b.jpg;wren\n", "a, b.jpg"),
        ('"image";"label";"size, m"\n"a;b.jpg";wren;1,5\n', "a;b.jpg"),
        ("image,label\na;b.jpg,wren\n", "a;b.jpg"),
        ('image,"a;b",label\nx.jpg,1;2,wren\n', "x.jpg"),
        ("image;note;label\r\nx.jpg;;wren\r\n", "x.jpg"),
    ],
)
def test_semicolons(tmp_path, text, name):
    path = tmp_path / "birds.csv"
    path.write_text(text, encoding="utf-8-sig")
    data = ImageFolder.from_csv(path)
    assert data.paths == [str(tmp_path / name)]
    assert data.class_names == ["wren"]
    with pytest.raises(ValueError, match="no column 'x'; the columns are 'image', "):
        ImageFolder.from_csv(path, "x")


def test_paths_in_bytes(table):
    want = ImageFolder.from_csv(table, "file", "species")
    got = ImageFolder.from_csv(os.fsencode(table), "file", "species")
    assert got.paths == want.paths
    got = ImageFolder.from_csv(table, "file", "species", root=b"/photos\xff")
    assert got.paths[0] == "/photos\udcff/a.jpg"
    frame = {"image": ["a.jpg"], "label": ["x"]}
    assert ImageFolder.from_dataframe(frame, root=b"/photos").paths == ["/photos/a.jpg"]
    assert ImageFolder.from_dataframe(frame, root="").paths == ["a.jpg"]  # the current folder
    for options in ({"path": "a\0b"}, {"path": table, "image": "file", "root": "a\0b"}):
        with pytest.raises(ValueError, match="a path cannot hold a NUL"):
            ImageFolder.from_csv(**({"label": "species"} | options))


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


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("image,label\nBär.jpg,Bär\n".encode("latin-1"), ["line 2", "label", "UTF-8"]),
        ("image,label\na.jpg,owl\n".encode("utf-16"), ["line 1", "UTF-8"]),
        (b"image,label\na\0.jpg,owl\n", ["line 2", "UTF-8"]),
        (b"image,label\n" + b"a" * 200_000 + b",owl\n", ["line 2", "CSV"]),
        (b'image,label\n"a.jpg,owl\nb.jpg,owl\n', ["line 3", "CSV"]),
        (b"image,label\na,b.jpg,owl\n", ["line 2", "2 cells", "got 3", "quotes"]),
        (b"image,label\na.jpg\n", ["line 2", "2 cells", "got 1"]),
        (b"image,label,label\na.jpg,owl,auk\n", ["2 columns", "'label'"]),
    ],
)
def test_csv_files_that_would_give_wrong_labels(tmp_path, content, words):
    path = tmp_path / "birds.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"birds\.csv") as caught:
        ImageFolder.from_csv(path)
    assert all(word in str(caught.value) for word in words), caught.value
    assert len(str(caught.value)) < 500


def test_csv_files_keep_the_bytes_of_a_file_name(tmp_path):
    path = tmp_path / "birds.csv"
    path.write_bytes(b"image,label\na\xff.jpg,owl\n\n")
    data = ImageFolder.from_csv(path, root="/photos")
    assert data.paths == ["/photos/a\udcff.jpg"]
    assert data.class_names == ["owl"]


def test_columns_of_the_same_name():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([["a", "b", "x"]], columns=["image", "label", "label"])
    with pytest.raises(ValueError, match=r"2 columns.*'label'"):
        ImageFolder.from_dataframe(frame)


@pytest.mark.parametrize("gap", [None, float("nan"), np.nan])
def test_numbers_with_gaps_are_class_numbers(gap):
    # NumPy and pandas turn integers with gaps into floats.
    labels = np.asarray([1, 0, np.nan if gap is None else gap])
    data = ImageFolder.from_lists(list("abc"), labels, ["auk", "owl"])
    assert data.labels.tolist() == [1, 0, -1]
    with pytest.raises(TypeError, match=r"float \(0\.5\)"):
        ImageFolder.from_lists(list("abc"), [1, 0.5, gap], ["auk", "owl"])


@pytest.mark.parametrize(
    ("paths", "labels", "words"),
    [
        (["a", 5], ["x", "y"], r"int \(5\) at position 1"),
        ([["a"]], ["x"], "list .* at position 0"),
        ("abc", ["x", "y", "z"], "sequence of paths"),
        (None, ["x"], "paths must be a sequence"),
        (["a"], None, "labels must be a sequence"),
        (["a", "b"], "xy", "labels must be a sequence"),
        (["a"], [["x"]], r"list \(\['x'\]\)"),
        (["a"], [1.0], "float"),
    ],
)
def test_lists_of_other_things(paths, labels, words):
    with pytest.raises(TypeError, match=words):
        ImageFolder.from_lists(paths, labels)
    assert ImageFolder.from_lists([b"a\xff"], ["x"]).paths == ["a\udcff"]


@pytest.mark.parametrize(
    "names",
    [("train", "valid"), ("Training", "Testing"), ("train_set", "val_set"), ("trn images", "eval")],
)
def test_splits_are_no_classes_for_anybody(tmp_path, names):
    for name in names:
        for species in ("auk", "owl"):
            (tmp_path / name / species).mkdir(parents=True)
            (tmp_path / name / species / "a.png").write_bytes(b"never opened")
    model = be.Model("resnet18", num_classes=2, seed=0, class_names=["auk", "owl"])
    for use in (
        model.fit_gallery,
        model.fit_projection,
        lambda data: be.evaluate(model, data),
        lambda data: be.top_losses(model, data),
        lambda data: be.fine_tune(model, data, epochs=1),
    ):
        with pytest.raises(ValueError, match="are dataset splits, not classes"):
            use(tmp_path)
        with pytest.raises(ValueError, match="are dataset splits, not classes"):
            use(ImageFolder(tmp_path))


def test_an_empty_label_is_no_class():
    with pytest.raises(ValueError, match="label at position 1 is empty; use None"):
        ImageFolder.from_lists(["a", "b"], ["x", " "])


def test_folders_of_other_words_are_classes(tmp_path):
    for name in ("train", "valise"):
        (tmp_path / name / "x").mkdir(parents=True)
        (tmp_path / name / "x" / "a.png").write_bytes(b"never opened")
    assert image_folder(tmp_path, "data").class_names == ["train", "valise"]


@pytest.mark.parametrize("gap", [None, float("nan"), np.float32("nan")])
def test_gaps_in_labels_of_embeddings(gap):
    with pytest.raises(ValueError, match="labels: row 1 has no label"):
        be.retrieval_metrics(np.eye(3, dtype=np.float32), ["a", gap, "a"])
    with pytest.raises(ValueError, match="data: row 1 has no label"):
        labelled_vectors(None, np.eye(3, dtype=np.float32), ["a", gap, "a"])


def test_columns_without_an_order_are_refused():
    paths = ["a.png", "b.png"]
    by_path = dict.fromkeys(paths, "OWL")
    for given, labels in ((paths, by_path), (paths, {"OWL", "JAY"}), (set(paths), ["OWL", "JAY"])):
        with pytest.raises(TypeError, match=r"must be a sequence of .*; pass a list in the order"):
            ImageFolder.from_lists(given, labels)
        with pytest.raises(TypeError, match=r"column '.*' must be a sequence"):
            ImageFolder.from_dataframe({"image": given, "label": labels})
    with pytest.raises(TypeError, match="class_names must be a sequence of strings, got a set"):
        ImageFolder.from_lists(paths, ["OWL", "OWL"], class_names={"OWL", "JAY"})
