"""Public classes go by their public name: in pickles, tracebacks and reports."""

import inspect
import pickle

import numpy as np
import pytest

import birdembed as be

CLASSES = [name for name in be.__all__ if isinstance(getattr(be, name), type)]


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_says_its_public_name(name):
    found = getattr(be, name)
    assert f"{found.__module__}.{found.__qualname__}" == f"birdembed.{name}"
    assert pickle.loads(pickle.dumps(found)) is found
    assert issubclass(found, Exception) or inspect.signature(found)
    assert inspect.getdoc(found)


@pytest.mark.parametrize("name", CLASSES)
def test_source_of_a_class_is_its_own_or_none(name):
    try:
        source = inspect.getsource(getattr(be, name))
    except (OSError, TypeError):  # TypeError of the core's errors, which are of C
        return
    assert f"class {name}" in source


def test_methods_have_their_source():
    assert "def from_pretrained" in inspect.getsource(be.Model.from_pretrained)
    assert "def to_dict" in inspect.getsource(be.Evaluation.to_dict)


def test_a_pickle_of_results():
    result = be.retrieval_metrics(np.eye(4, dtype=np.float32), ["a", "a", "b", "b"])
    data = pickle.dumps(result)
    assert b"birdembed.evaluation" not in data
    assert pickle.loads(data).to_dict() == result.to_dict()


def plain(value):
    """Return whether a value is made of Python's own types and arrays."""
    if isinstance(value, dict):
        return all(plain(part) for pair in value.items() for part in pair)
    if isinstance(value, (list, tuple)):
        return type(value) in (list, tuple) and all(map(plain, value))
    return value is None or type(value) in (str, bytes, int, float, bool, np.ndarray)


def test_a_pickled_model_is_plain_values():
    model = be.Model(seed=1, preprocess=be.Preprocess(size=32), num_classes=2)
    rng = np.random.default_rng(0)
    model.fit_projection(rng.standard_normal((12, 2048)), list("aaabbbcccddd"), dim=4)
    vectors = rng.standard_normal((6, 4)).astype(np.float32)
    model.fit_gallery(vectors, labels=["a", "a", "a", "b", "b", "b"])
    assert plain(model.__getstate__())
    again = pickle.loads(pickle.dumps(model))
    assert again.fingerprint == model.fingerprint
    assert (again.threshold, repr(again)) == (model.threshold, repr(model))
    np.testing.assert_array_equal(again.gallery.embeddings, model.gallery.embeddings)
    picture = np.zeros((32, 32, 3), np.uint8)
    assert again.identify(picture) == model.identify(picture)
    np.testing.assert_array_equal(again.logits(picture), model.logits(picture))
