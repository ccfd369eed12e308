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
