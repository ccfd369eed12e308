"""The worst pictures of a model, and how often a picture enters its network."""

import numpy as np
import pytest

import birdembed as be
from tests.support.species import SPECIES


def test_top_losses_of_a_classifier(model, photos):
    model.reset_classifier(len(SPECIES), SPECIES, seed=3)
    found = be.top_losses(model, photos, k=50)
    assert len(found) == len(photos)
    proba = model.predict_proba(photos).astype(np.float64)
    want = -np.log(proba[np.arange(len(photos)), photos.labels])
    assert [one.path for one in found] == [
        photos.paths[i] for i in np.argsort(-want, kind="stable")
    ]
    np.testing.assert_allclose([one.loss for one in found], np.sort(want)[::-1], rtol=1e-12)
    # As evaluate's confusion: the classifier's with a reference, too.
    assert be.top_losses(model, photos, k=50, reference=photos) == found
    row = photos.paths.index(found[0].path)
    assert found[0].label == photos.names[row]
    assert found[0].found == SPECIES[proba[row].argmax()]


def test_top_losses_of_neighbours(model, photos, others):
    vectors, corpus = model.encode(others), model.encode(photos)
    scores = be.cosine_similarity(vectors, corpus).astype(np.float64)
    same = np.asarray(others.names)[:, None] == np.asarray(photos.names)[None]
    want = np.where(same, -9, scores).max(axis=1) - np.where(same, scores, -9).max(axis=1)
    found = be.top_losses(model, others, k=3, reference=photos)
    np.testing.assert_allclose([one.loss for one in found], np.sort(want)[::-1][:3], atol=1e-9)
    assert found[0].path == others.paths[want.argmax()]
    alone = be.top_losses(model, others, k=len(others))
    assert all(one.loss > -1 for one in alone)  # no picture was its own neighbour
    with pytest.raises(ValueError, match="k must"):
        be.top_losses(model, others, k=0)
    with pytest.raises(TypeError, match=r"an ImageFolder .*, got list"):
        be.top_losses(model, others.paths)
    nothing = be.ImageFolder.from_lists(["missing.jpg"], ["JAY"])
    with pytest.raises(ValueError, match="none of the 1 images"):
        be.top_losses(model, nothing)


# --- images that enter the network ---------------------------------------------------


class CountingNetwork:
    """A network that counts its images."""

    def __init__(self, network):
        self._network, self.images = network, 0

    def features(self, pixels, *options):
        self.images += len(pixels)
        return self._network.features(pixels, *options)

    def __getattr__(self, name):
        return getattr(self._network, name)


@pytest.fixture
def counted(model):
    """A model with a classifier, and its network."""
    model.reset_classifier(len(SPECIES), SPECIES, seed=3)
    network = CountingNetwork(model._current.trunk.network)
    model._current.trunk.network = network
    return model, network


def test_evaluate_runs_the_network_once_per_image(counted, photos, others):
    model, network = counted
    found = be.evaluate(model, others)
    assert found.accuracy is not None
    assert network.images == len(others)
    network.images = 0
    be.evaluate(model, others, reference=photos)
    assert network.images == len(others) + len(photos)
    network.images = 0
    be.top_losses(model, others)
    assert network.images == len(others)


def test_evaluate_of_one_pass_is_that_of_two(model, others):
    model.reset_classifier(len(SPECIES), SPECIES, seed=3)

    class TwoPasses:
        num_classes, class_names = model.num_classes, model.class_names
        fingerprint = model.fingerprint
        encode, predict_proba = model.encode, model.predict_proba

    want = be.evaluate(TwoPasses(), others)
    assert want.accuracy is not None
    assert be.evaluate(model, others).to_dict() == want.to_dict()
    assert be.top_losses(model, others) == be.top_losses(TwoPasses(), others)
