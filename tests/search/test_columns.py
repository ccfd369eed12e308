"""Columns of labels and metadata: what they may be given as, and which types they take."""

import numpy as np
import pytest

import birdembed as be
from birdembed.images.files import image_paths
from tests.support.fake_model import FakeModel

EYE = np.eye(4, dtype=np.float32)


def with_columns(**columns):
    index = be.Index()
    index.add(["a", "b"], EYE[:2], **columns)
    return index


@pytest.mark.parametrize("values", [{"x": 1, "y": 2}, {"x", "y"}, frozenset("xy")])
def test_columns_without_an_order_are_refused(values):
    for columns in (
        {"labels": values},
        {"metadata": {"c": values}},
        {"metadata": {"path": values}},
    ):
        with pytest.raises(TypeError, match=r"must be a sequence .*; pass a list in the order"):
            with_columns(**columns)
    with pytest.raises(TypeError, match="ids must be a sequence of strings, got a"):
        be.Index().add(values, EYE[:2])


def test_images_without_an_order_have_no_labels(photos):
    paths = image_paths(photos)[:2]
    for labels in (dict.fromkeys(paths, "OWL"), set(paths)):
        with pytest.raises(TypeError, match="labels must be a sequence of strings, got a"):
            be.Index.build(FakeModel(), paths, labels=labels)
    with pytest.raises(TypeError, match="images must be a sequence of images, got a set"):
        be.Index.build(FakeModel(), set(paths), labels=["OWL", "JAY"])
    assert set(be.Index.build(FakeModel(), set(paths)).ids) == set(paths)


def test_columns_of_pyarrow():
    arrow = pytest.importorskip("pyarrow")
    tags, numbers = arrow.array(["OWL", None]), arrow.chunked_array([[1], [2]])
    index = with_columns(labels=tags, metadata={"n": numbers})
    assert index.labels.tolist() == ["OWL", None]
    assert index.metadata["n"].tolist() == [1, 2]
    index = with_columns(labels=list(tags), metadata={"n": list(numbers)})
    assert index.labels.tolist() == ["OWL", None]


def test_masked_numbers_are_named():
    with pytest.raises(ValueError, match="metadata column 'n' has masked values"):
        with_columns(metadata={"n": np.ma.masked_array([1, 2], mask=[0, 1])})


@pytest.mark.parametrize("gap", [[None, None], [float("nan")] * 2, np.full(2, np.nan)])
def test_a_column_that_begins_without_values_takes_numbers(gap, tmp_path):
    index = with_columns(metadata={"n": gap, "f": gap, "t": gap})
    index.save(tmp_path / "i")
    for table in (index, be.Index.load(tmp_path / "i")):
        columns = {"n": [1, 2], "f": [0.5, None], "t": [3, 4]}
        table.add(["c", "d"], EYE[2:], metadata=columns)
        for name, values in (("n", [1, 2]), ("f", [0.5, np.nan]), ("t", [3, 4])):
            np.testing.assert_array_equal(table.metadata[name], [np.nan, np.nan, *values])
        assert table.search(EYE[0], where={"n": 2}).ids.tolist() == ["d"]


def test_a_column_that_begins_without_values_takes_text():
    index = with_columns(metadata={"t": [None, None]})
    index.add(["c"], EYE[2:3], metadata={"t": ["x"]})
    assert index.metadata["t"].tolist() == [None, None, "x"]


def test_what_a_column_without_values_cannot_take():
    index = with_columns(metadata={"n": [None, None]})
    with pytest.raises(ValueError, match="'n' has no values in the 2 rows before, and booleans"):
        index.add(["c"], EYE[2:3], metadata={"n": [True]})
    with pytest.raises(ValueError, match="cannot hold exactly"):
        index.add(["c"], EYE[2:3], metadata={"n": [2**53 + 1]})
    assert len(index) == 2
