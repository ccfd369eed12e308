"""Mistakes, worst pictures, copies, and what evaluate says about them."""

from pathlib import Path

import numpy as np
import pytest

import birdembed as be
from birdembed.evaluation.duplicates import duplicate_groups
from birdembed.evaluation.evaluation import Evaluation
from tests.support.species import SPECIES, picture, write_folder

Image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")


def evaluation(confusion, names):
    return Evaluation(
        n=int(np.sum(confusion)),
        lone=0,
        precision_at_1=None,
        recall_at_k={},
        map_at_r=None,
        same_similarity=None,
        different_similarity=None,
        per_class={},
        confusion=np.asarray(confusion),
        class_names=names,
    )


def test_most_confused():
    result = evaluation([[5, 3, 0], [1, 9, 0], [0, 2, 2]], ["A", "B", "C"])
    assert be.most_confused(result) == [
        ("A", "B", 3, 3 / 8),
        ("C", "B", 2, 2 / 4),
        ("B", "A", 1, 1 / 10),
    ]
    assert result.most_confused(1) == be.most_confused(result)[:1]
    assert evaluation(np.eye(2, dtype=int), ["A", "B"]).most_confused() == []
    assert result.confusion[0, 0] == 5  # left as it was
    with pytest.raises(ValueError, match="k must"):
        result.most_confused(0)


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
    with pytest.raises(TypeError, match=r"ImageFolder, got str; birdembed\.ImageFolder"):
        be.top_losses(model, others.root)
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
        encode, predict_proba = model.encode, model.predict_proba

    want = be.evaluate(TwoPasses(), others)
    assert want.accuracy is not None
    assert be.evaluate(model, others).to_dict() == want.to_dict()
    assert be.top_losses(model, others) == be.top_losses(TwoPasses(), others)


# --- copies --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """Four new pictures of a species, and what people do to them."""
    root = tmp_path_factory.mktemp("copies")
    for number in range(4):
        (root / "a" / "JAY").mkdir(parents=True, exist_ok=True)
        picture(10 + number, 0, 120).save(root / "a" / "JAY" / f"{number}.png")
    there = root / "b" / "JAY"
    there.mkdir(parents=True)
    original = picture(10, 0, 120)
    original.resize((90, 70)).save(there / "smaller.jpg", quality=60)
    picture(11, 0, 120).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(there / "mirrored.png")
    Image.eval(picture(12, 0, 120), lambda v: int(v * 0.7)).save(there / "darker.png")
    picture(99, 0, 120).save(there / "another.png")
    (there / "bad.png").write_bytes(b"no picture")
    return be.ImageFolder(root / "a"), be.ImageFolder(root / "b")


def names(pairs):
    return {tuple(path.rsplit("/", 1)[1] for path in pair[:2]) for pair in pairs}


def test_copies_between_two_folders(copies):
    ours, theirs = copies
    with pytest.warns(UserWarning, match=r"reference: 1 images .*bad\.png"):
        found = be.find_duplicates(ours, theirs)
    assert names(found) == {
        ("0.png", "smaller.jpg"),
        ("1.png", "mirrored.png"),
        ("2.png", "darker.png"),
    }
    scores = [pair.score for pair in found]
    assert scores == sorted(scores, reverse=True)
    assert found[0].label == found[0].other_label == "JAY"


@pytest.mark.filterwarnings("ignore:.*are not compared")
def test_copies_within_a_list(copies):
    paths = [path for data in copies for path in data.paths]
    found = be.find_duplicates(paths)
    assert names(found) == names(be.find_duplicates(*copies))  # each pair once, none with itself
    assert be.find_duplicates([]) == []
    bad = [path for path in paths if path.endswith("bad.png")]
    assert len(bad) == 1
    for given, name in (((bad,), "data"), ((paths, bad), "reference")):
        with pytest.raises(ValueError, match=rf"{name}: none of its .*bad\.png"):
            be.find_duplicates(*given)
    with pytest.raises(ValueError, match="threshold"):
        be.find_duplicates(paths, threshold=0)


@pytest.mark.filterwarnings("ignore:.*are not compared")
def test_copies_below_folders(copies, tmp_path):
    ours, theirs = copies
    want = be.find_duplicates(ours, theirs)
    assert be.find_duplicates(ours.root, theirs.root) == want
    assert be.find_duplicates(Path(ours.root), theirs) == want
    with pytest.raises(ValueError, match="no images"):
        be.find_duplicates(tmp_path)
    for find in (be.find_duplicates, duplicate_groups):
        with pytest.raises(FileNotFoundError, match=r"no such folder: .*nowhere"):
            find(tmp_path / "nowhere")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="data: none of its"):  # a file is one image
        be.find_duplicates(tmp_path / "bad.png")


def test_a_group_has_more_than_the_nearest_few(tmp_path):
    """Of two heaps of equal files each file's nearest few are in its own heap."""
    first = picture(10, 0, 120)
    second = first.rotate(2)
    for number in range(12):
        (first if number % 2 else second).save(tmp_path / f"{number:02}.png")
    picture(99, 0, 120).save(tmp_path / "another.png")
    across = [p for p in be.find_duplicates(tmp_path) if p.score < 0.9999]
    assert across == []
    ((paths, score),), failures = duplicate_groups(tmp_path)
    assert paths == [str(tmp_path / f"{number:02}.png") for number in range(12)]
    assert 0.9 < score < 0.9999
    assert failures == []
    assert [len(group.paths) for group in duplicate_groups(tmp_path, threshold=1)[0]] == [6, 6]


def test_evaluate_reports_copies_first(model, photos, tmp_path):
    valid = write_folder(tmp_path / "valid", range(6, 7))
    picture(SPECIES.index("JAY"), 0).save(tmp_path / "valid" / "JAY" / "copy.png")
    valid = be.ImageFolder(valid.root)
    for reference in (photos, be.Index.build(model, photos)):
        result = be.evaluate(model, valid, reference=reference)
        assert ("copy.png", "0.png") in names(result.duplicates)
        scalars = result.to_dict(scalars=True)
        assert scalars["duplicates"] == len({pair.path for pair in result.duplicates})
        order = list(scalars)
        assert order.index("duplicates") < order.index("precision_at_1")
        assert result.to_dict()["duplicates"][0]["label"] in SPECIES
    # A picture that is itself in the reference counts: what was trained on it knows it.
    both = be.evaluate(model, photos, reference=photos)
    assert both.to_dict(scalars=True)["duplicates"] == len(photos)
    assert both.duplicates == be.find_duplicates(photos, photos)
    assert both.precision_at_1 == be.evaluate(model, photos).precision_at_1  # none finds itself
    alone = be.evaluate(model, photos)
    assert alone.duplicates is None
    assert "duplicates" not in alone.to_dict(scalars=True)
