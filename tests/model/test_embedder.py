"""An embedder by itself: no classes, no species, no files."""

import pickle

import numpy as np
import pytest

import birdembed as be
from birdembed.model.embedder import Embedder

PREPROCESS = be.Preprocess(size=32)


@pytest.fixture(scope="module")
def embedder():
    return Embedder("resnet50", seed=3, preprocess=PREPROCESS)


@pytest.fixture(scope="module")
def images():
    return list(np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), np.uint8))


def test_it_embeds_as_a_model_does(embedder, images):
    model = be.Model("resnet50", seed=3, preprocess=PREPROCESS)
    vectors = embedder.encode(images)
    assert vectors.shape == (3, embedder.embedding_dim) == (3, 2048)
    np.testing.assert_array_equal(vectors, model.encode(images))
    assert embedder.fingerprint == model.fingerprint
    assert (embedder.architecture, embedder.projection) == ("resnet50", None)
    maps = embedder.forward_features(images)
    np.testing.assert_allclose(maps.mean(axis=(2, 3)), vectors, rtol=1e-4, atol=1e-6)
    (found,) = embedder.encode_iter(images)
    np.testing.assert_array_equal(found[1], vectors)


def test_weights_in_and_out(embedder, images):
    other = Embedder("resnet50", seed=4, preprocess=PREPROCESS)
    assert other.fingerprint != embedder.fingerprint
    other.load_state_dict(embedder.state_dict())
    assert other.fingerprint == embedder.fingerprint
    np.testing.assert_array_equal(other.encode(images), embedder.encode(images))
    other.preprocess = be.Preprocess(size=64)
    assert other.fingerprint != embedder.fingerprint


def test_a_pickle(embedder, images):
    again = pickle.loads(pickle.dumps(embedder))
    assert type(again) is Embedder
    np.testing.assert_array_equal(again.encode(images[0]), embedder.encode(images[0]))


def test_refused():
    with pytest.raises(ValueError, match="architecture must be one of"):
        Embedder("vgg")
    with pytest.raises(TypeError, match="preprocess must be a Preprocess, got int"):
        Embedder(preprocess=3)
