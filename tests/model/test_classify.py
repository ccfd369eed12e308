"""The classifier: logits, probabilities, predictions, and putting another one in."""

import numpy as np
import pytest

import birdembed as be
from birdembed.weights.projection import Projection
from tests.support import seeded, tolerances
from tests.support.models import CLASSES, make_model


@pytest.fixture
def model():
    return make_model(size=32, class_names=[f"species {i}" for i in range(CLASSES)])


def test_logits_are_the_head_of_the_features(small, pictures):
    logits = small.logits(pictures[:5])
    assert logits.shape == (5, CLASSES)
    assert logits.dtype == np.float32
    state = small.state_dict()
    features = small.encode(pictures[:5]).astype(np.float64)
    expected = features @ state["fc.weight"].T.astype(np.float64) + state["fc.bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(small.logits(pictures[0]), logits[0])
    np.testing.assert_array_equal(small.logits(pictures[:5], 2, num_threads=1), logits)


def test_the_head_sees_average_pooled_features(pictures):
    """Also of a model whose embeddings are projected or pooled otherwise."""
    plain = make_model("resnet50d", CLASSES, size=32)
    pooling = make_model("resnet50d", CLASSES, size=32, pooling="gem")
    assert not np.allclose(pooling.encode(pictures[0]), plain.encode(pictures[0]))
    np.testing.assert_array_equal(pooling.logits(pictures[:2]), plain.logits(pictures[:2]))


def test_probabilities(small, pictures):
    logits = small.logits(pictures[:5]).astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    proba = small.predict_proba(pictures[:5])
    assert proba.dtype == np.float32
    np.testing.assert_allclose(proba, expected, atol=tolerances.SOFTMAX)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(small.predict_proba(pictures[0]), proba[0])


@pytest.mark.parametrize("pooling", ["avg", "gem"])
@pytest.mark.parametrize("mirror", [False, True])
def test_embeddings_and_probabilities_of_one_pass(pooling, mirror, pictures, tmp_path):
    projection = Projection(
        pooling, seeded.uniform([5], (2048,)), seeded.uniform([6], (2048, 16), -1, 1)
    )
    preprocess = be.Preprocess(size=32, mirror=mirror)
    model = make_model(
        "resnet50", preprocess=preprocess, projection=projection, project_by_default=True
    )
    vectors, proba, report = model.encode_and_classify(pictures[:5], 2)
    np.testing.assert_array_equal(vectors, model.encode(pictures[:5]))
    np.testing.assert_array_equal(proba, model.predict_proba(pictures[:5]))
    assert report.kept == list(range(5))
    one = model.encode_and_classify(pictures[0])
    np.testing.assert_array_equal(one[0], vectors[0])
    np.testing.assert_array_equal(one[1], proba[0])
    bad = [pictures[0], tmp_path / "gone.jpg", pictures[2]]
    kept, _, report = model.encode_and_classify(bad, on_error="skip")
    np.testing.assert_array_equal(kept, vectors[[0, 2]])
    assert [failure[0] for failure in report.failures] == [1]
    empty = model.encode_and_classify([])
    assert (empty[0].shape, empty[1].shape) == ((0, 16), (0, CLASSES))
    model.reset_classifier(0)
    with pytest.raises(ValueError, match="no classifier"):
        model.encode_and_classify(pictures[:5])


def test_enormous_logits_stay_finite(model, pictures):
    state = model.state_dict()
    state["fc.bias"] = np.linspace(-1e4, 1e4, CLASSES, dtype=np.float32)
    model.load_state_dict(state)
    proba = model.predict_proba(pictures[0])
    assert np.isfinite(proba).all()
    assert proba[-1] == 1


def test_predict(small, pictures):
    proba = small.predict_proba(pictures[:4])
    lists = small.predict(pictures[:4], k=3)
    assert len(lists) == 4
    for row, found in zip(proba, lists, strict=True):
        order = np.argsort(-row)[:3]
        assert found == [(f"species {i}", float(row[i])) for i in order]
        assert all(type(label) is str and type(score) is float for label, score in found)
    assert small.predict(pictures[0], k=3) == lists[0]
    assert small.predict(pictures[:1], k=3) == lists[:1]
    assert len(small.predict(pictures[0])) == 5
    assert len(small.predict(pictures[0], k=100)) == CLASSES


@pytest.mark.parametrize(("k", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError)])
def test_bad_k(small, pictures, k, error):
    with pytest.raises(error, match="k must be"):
        small.predict(pictures[0], k=k)


def test_without_names_labels_are_numbers(resnet50, pictures):
    labels = [label for label, _ in resnet50.predict(pictures[0], k=CLASSES)]
    assert sorted(labels) == [str(i) for i in range(CLASSES)]


def test_without_a_head(projecting, pictures):
    for call in (projecting.logits, projecting.predict_proba, projecting.predict):
        with pytest.raises(ValueError, match=r"no classifier.*reset_classifier"):
            call(pictures[0])
    with pytest.raises(ValueError, match="no classifier"):
        projecting.predict([])


def test_bad_images(small):
    for call in (small.logits, small.predict, small.forward_features):
        with pytest.raises(be.DecodeError, match="image 0"):
            call([b"bad"])
        with pytest.raises(TypeError, match="image 0"):
            call([None])


def test_forward_features_of_one(small, pictures):
    maps = small.forward_features(pictures[0])
    assert maps.shape == (1, 2048, 2, 2)
    np.testing.assert_array_equal(small.forward_features(pictures[:9], 4)[:1], maps)


def test_reset_classifier(model, pictures):
    before = model.encode(pictures[:2])
    fingerprint = model.fingerprint
    model.reset_classifier(3, ["a", "b", "c"])
    assert (model.num_classes, model.class_names) == (3, ["a", "b", "c"])
    assert model.logits(pictures[:2]).shape == (2, 3)
    assert {label for label, _ in model.predict(pictures[0])} == {"a", "b", "c"}
    np.testing.assert_array_equal(model.encode(pictures[:2]), before)
    assert model.fingerprint == fingerprint

    model.reset_classifier(4)
    assert (model.num_classes, model.class_names) == (4, None)

    model.reset_classifier(0)
    assert (model.num_classes, model.class_names) == (0, None)
    np.testing.assert_array_equal(model.encode(pictures[:2]), before)
    assert model.fingerprint == fingerprint
    assert not any(name.startswith("fc.") for name in model.state_dict())
    with pytest.raises(ValueError, match="no classifier"):
        model.logits(pictures[0])


def test_reset_classifier_is_reproducible(model):
    model.reset_classifier(3)
    first = model.state_dict()["fc.weight"]
    model.reset_classifier(3)
    np.testing.assert_array_equal(model.state_dict()["fc.weight"], first)
    model.reset_classifier(3, seed=1)
    assert not np.array_equal(model.state_dict()["fc.weight"], first)
    assert np.abs(first).max() <= 1 / np.sqrt(2048)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((-1,), ValueError, "num_classes"),
        ((2.5,), TypeError, "num_classes"),
        ((True,), TypeError, "num_classes"),
        ((2, ["one"]), ValueError, "class_names has 1 names for 2 classes"),
        ((2, ["one", "one"]), ValueError, "class_names has 'one' twice"),
        ((0, ["one"]), ValueError, "class_names"),
        ((2**21,), ValueError, "num_classes"),
    ],
)
def test_refused_classifiers(model, arguments, error, words):
    with pytest.raises(error, match=words):
        model.reset_classifier(*arguments)
    assert model.num_classes == CLASSES  # as it was
    with pytest.raises(error, match=words):
        be.Model("resnet50", arguments[0], class_names=arguments[1] if arguments[1:] else None)


def test_class_names_are_a_copy(model):
    names = model.class_names
    names[0] = "changed"
    assert model.class_names[0] == "species 0"


def test_random_models(pictures):
    first, same, other = (be.Model("resnet50", 2, seed=s) for s in (0, 0, 1))
    image = seeded.pictures(1)[0]
    assert first.encode(image).any()
    np.testing.assert_array_equal(first.encode(image), same.encode(image))
    assert first.fingerprint == same.fingerprint != other.fingerprint
    assert np.isfinite(be.Model("resnet50d").encode(image)).all()
    with pytest.raises(ValueError, match=r"resnet50.*resnet50d.*got 'vgg16'"):
        be.Model("vgg16")
