"""Galleries, thresholds and identify, against brute force."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import birdembed as be
from birdembed.base.vectors import unit_rows
from birdembed.species.threshold import choose_threshold, held_out_scores
from tests.support.species import SPECIES, clouds, write_folder


def test_auroc():
    assert be.open_set_auroc([3, 2], [1, 0]) == 1
    assert be.open_set_auroc([0, 1], [2, 3]) == 0
    assert be.open_set_auroc([1, 1], [1]) == 0.5
    rng = np.random.default_rng(0)
    known, unknown = rng.integers(0, 9, 50), rng.integers(-2, 7, 70)
    pairs = np.subtract.outer(known, unknown)
    assert be.open_set_auroc(known, unknown) == pytest.approx(
        ((pairs > 0) + 0.5 * (pairs == 0)).mean(), abs=1e-12
    )


@pytest.mark.parametrize(("known", "unknown"), [([], [1]), ([1], []), ([np.nan], [1])])
def test_auroc_refuses(known, unknown):
    with pytest.raises(ValueError, match="known and unknown"):
        be.open_set_auroc(known, unknown)


def test_held_out_scores_are_those_of_smaller_galleries():
    """The closed form against galleries that are really built without the picture."""
    rows, labels = clouds(4, 5, 8, spread=0.5)
    known, unknown, right = held_out_scores(unit_rows(rows), labels, 4)
    units = unit_rows(rows)
    for i in range(len(rows)):
        keep = np.arange(len(rows)) != i
        table = np.stack([unit_rows(units[keep & (labels == c)].sum(0)[None])[0] for c in range(4)])
        scores = table @ units[i]
        assert known[i] == pytest.approx(scores.max(), abs=1e-12)
        assert right[i] == (scores.argmax() == labels[i])
        assert unknown[i] == pytest.approx(np.delete(scores, labels[i]).max(), abs=1e-12)


def test_a_lone_picture_is_no_known_one():
    rows, labels = clouds(3, 4, 8)
    known, unknown, right = held_out_scores(unit_rows(rows[:9]), labels[:9], 3)
    assert len(known) == len(right) == 8
    assert len(unknown) == 9


def test_threshold_accepts_the_share_that_was_asked_for():
    known = np.arange(100, dtype=float)
    threshold, words = choose_threshold(known, np.zeros(3), 0.95)
    assert (known >= threshold).mean() == 0.95
    assert "95%" in words
    # Scores of identify, in float32, may be slightly lower than those of the fit.
    for share, scores, lowest in ((0.95, known[:20], 1), (1.0, known, 0)):
        threshold, _ = choose_threshold(scores, np.zeros(3), share)
        assert lowest - 1e-5 < threshold < lowest
    assert choose_threshold(known[5:9], np.zeros(3), None)[0] < 5


def test_balanced_threshold():
    known, unknown = np.array([5.0, 6, 7, 1]), np.array([0.0, 2, 3, 6.5])
    threshold, _ = choose_threshold(known, unknown, None)
    assert threshold == 4  # halfway between 3 and 5: 3/4 accepted, 3/4 refused


# --- in a model ----------------------------------------------------------------------


def test_without_a_gallery(model, photos):
    assert model.gallery is None
    assert model.threshold is None
    with pytest.raises(ValueError, match="fit_gallery"):
        model.identify(photos.paths[0])


def test_identify(model, photos, others):
    model.fit_projection(photos, dim=8)  # random features tell little apart
    fit = model.fit_gallery(photos)
    gallery = model.gallery
    assert isinstance(gallery, be.Index)
    assert gallery.labels.tolist() == SPECIES
    np.testing.assert_allclose(np.linalg.norm(gallery.embeddings, axis=1), 1, atol=1e-6)
    found = model.identify(others)
    assert [one.species for one in found] == others.names
    vectors = model.encode(others)
    for one, vector in zip(found, vectors, strict=True):
        scores = be.cosine_similarity(vector, gallery.embeddings)
        order = np.argsort(-scores)
        assert one.matches == [(SPECIES[i], float(scores[i])) for i in order[:5]]
        assert (one.species, one.score) == one.matches[0]
        assert one.known == (one.score >= model.threshold)
    assert model.threshold == fit.threshold
    assert fit.known_accepted >= 0.95
    assert fit.n_known == fit.n_unknown == len(photos)
    assert fit.unknown_from == "held-out species"


def test_one_image_many_images_none(model, photos):
    model.fit_gallery(photos)
    one = model.identify(photos.paths[0], k=2)
    assert one.species == photos.names[0]
    assert len(one.matches) == 2
    assert model.identify([photos.paths[0]], k=2) == [one]
    assert model.identify([]) == []
    with pytest.raises(ValueError, match="k must"):
        model.identify(photos.paths[0], k=0)


def test_below_the_threshold_the_nearest_is_still_listed(model, photos):
    model.fit_gallery(photos)
    model.threshold = 1.5
    one = model.identify(photos.paths[0])
    assert not one.known
    assert one.species == one.matches[0][0] == photos.names[0]


def test_names(model, photos, tmp_path):
    model.fit_gallery(photos)
    bare = model.identify(photos.paths[0])
    assert (bare.common_name, bare.scientific_name) == (None, None)
    assert (
        repr(bare)
        == f"Identification({', '.join(f'{k}={v!r}' for k, v in bare._asdict().items())})"
    )
    fingerprint = model.fingerprint
    label, other = (name for name, _ in bare.matches[:2])
    model.species_names = {label: ("Dunnock", "Prunella modularis"), other: "Jay", "far": "Far"}
    assert model.fingerprint == fingerprint
    one = model.identify(photos.paths[0], k=3)
    assert one == (*bare[:3], bare.matches[:3])
    assert (one.common_name, one.scientific_name) == ("Dunnock", "Prunella modularis")
    third = bare.matches[2][0]
    assert one.full_names() == ["Dunnock (Prunella modularis)", "Jay", third]
    assert f"species={label!r}, common_name='Dunnock', scientific_name=" in repr(one)
    assert "Dunnock (Prunella modularis)" in one._repr_html_()
    assert "Prunella modularis" in model.identify(photos)._repr_html_()
    found = json.loads(json.dumps(one.to_dict()))
    assert found["matches"][1] == {
        "species": other,
        "common_name": "Jay",
        "scientific_name": None,
        "score": one.matches[1][1],
    }
    assert (found["species"], found["common_name"], found["known"]) == (label, "Dunnock", True)
    assert pickle.loads(pickle.dumps(one)).to_dict() == one.to_dict()
    model.save_pretrained(tmp_path / "m")
    for again in (be.load_model(tmp_path / "m"), pickle.loads(pickle.dumps(model))):
        assert again.species_names == model.species_names
        assert again.fingerprint == fingerprint
        assert again.identify(photos.paths[0]).common_name == "Dunnock"
    model.species_names = None
    assert model.species_names == {}


@pytest.mark.parametrize(
    ("names", "error", "match"),
    [
        (["JAY"], TypeError, "must be a dict"),
        ({"JAY": 3}, TypeError, "'JAY'"),
        ({"JAY": ("Jay",)}, TypeError, "'JAY'"),
        ({"JAY": ("Jay", None)}, TypeError, "'JAY'"),
        ({"JAY": ("", "Garrulus glandarius")}, ValueError, "no common name"),
    ],
)
def test_names_refused(model, names, error, match):
    with pytest.raises(error, match=match):
        model.species_names = names
    assert model.species_names == {}


def test_bad_files(model, photos, tmp_path):
    model.fit_gallery(photos)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    with pytest.raises(be.DecodeError, match=r"bad\.png"):
        model.identify([photos.paths[0], str(bad)])
    found, report = model.identify([str(bad), photos.paths[0]], on_error="skip", return_report=True)
    assert len(found) == 1
    assert report.kept == [1]
    assert report.failures[0][0] == 0
    with pytest.warns(UserWarning, match="could not be read"):
        model.identify([str(bad), photos.paths[0]], on_error="skip")
    with pytest.raises(ValueError, match="on_error"):
        model.identify(photos, on_error="nan")


def test_given_unknown_pictures(model, photos, tmp_path):
    strange = write_folder(tmp_path / "strange", range(2), ["X", "Y"])
    fit = model.fit_gallery(photos, unknown=strange)
    assert fit.unknown_from == "given pictures"
    assert fit.n_unknown == 4
    again = model.fit_gallery(photos, unknown=model.encode(strange))
    assert (again.threshold, again.auroc) == (fit.threshold, fit.auroc)
    scores = be.cosine_similarity(model.encode(strange), model.gallery.embeddings).max(axis=1)
    assert fit.unknown_accepted == (scores >= fit.threshold).mean()
    with pytest.raises(ValueError, match="dimensions"):
        model.fit_gallery(photos, unknown=np.zeros((2, 5), np.float32))


def test_threshold_from_pictures_that_were_not_trained_on(model, photos, others):
    fit = model.fit_gallery(photos, valid=others, accept=None)
    assert fit.n_known == len(others)
    best = be.cosine_similarity(model.encode(others), model.gallery.embeddings)
    assert fit.known_accepted == (best.max(axis=1) >= fit.threshold).mean()
    labels = np.asarray([SPECIES.index(name) for name in others.names])
    assert fit.accuracy == (best.argmax(axis=1) == labels).mean()


def test_embeddings_and_indexes_serve_as_well(model, photos):
    fit = model.fit_gallery(photos)
    vectors = model.encode(photos)
    assert model.fit_gallery(vectors, labels=photos.names).to_dict() == fit.to_dict()
    index = be.Index.build(model, photos)
    assert model.fit_gallery(index).to_dict() == fit.to_dict()
    model.preprocess = be.Preprocess(size=96)
    with pytest.raises(be.FingerprintMismatch):
        model.fit_gallery(index)


def test_the_species_of_embeddings_are_names_or_numbers(model, photos):
    vectors = model.encode(photos)
    numbers = [SPECIES.index(name) for name in photos.names]
    model.fit_gallery(vectors, labels=numbers)
    want = model.gallery.labels.tolist()
    torch = pytest.importorskip("torch")
    model.fit_gallery(vectors, labels=torch.tensor(numbers))
    assert model.gallery.labels.tolist() == want
    assert all(name.isdigit() for name in want)
    for wrong in ([b"A"] * len(vectors), np.asarray(numbers, "f4"), dict.fromkeys(photos.paths)):
        with pytest.raises(TypeError, match="labels must be"):
            model.fit_gallery(vectors, labels=wrong)
    with pytest.raises(ValueError, match="label at position 0 is empty"):
        model.fit_gallery(vectors, labels=[""] * len(vectors))


@pytest.mark.parametrize("change", ["preprocess", "projection", "weights"])
def test_a_changed_model_needs_a_new_gallery(model, photos, tmp_path, change):
    model.fit_gallery(photos)
    if change == "preprocess":
        model.preprocess = be.Preprocess(size=96)
    elif change == "projection":
        model.fit_projection(photos, dim=4, shrinkage=0.5)
    else:
        state = model.state_dict()
        state["conv1.weight"] *= 2
        model.load_state_dict(state)
    with pytest.raises(ValueError, match="again with fit_gallery"):
        model.identify(photos.paths[0])
    model.save_pretrained(tmp_path / "m")
    again = be.load_model(tmp_path / "m")
    assert again.gallery is None
    assert again.threshold is None


def test_the_head_does_not_count(model, photos):
    model.fit_gallery(photos)
    one = model.identify(photos.paths[0])
    model.reset_classifier(3)
    assert model.identify(photos.paths[0]) == one


def test_saved_and_pickled(model, photos, tmp_path):
    fit = model.fit_gallery(photos)
    model.save_pretrained(tmp_path / "m")
    assert (tmp_path / "m" / "gallery.safetensors").is_file()
    want = model.identify(photos)
    copies = {
        "folder": be.load_model(tmp_path / "m"),
        "pickle": pickle.loads(pickle.dumps(model)),
        "pickle of a folder": pickle.loads(pickle.dumps(be.load_model(tmp_path / "m"))),
    }
    for name, again in copies.items():
        assert again.threshold == fit.threshold, name
        assert again.identify(photos) == want, name
        assert again.gallery.labels.tolist() == SPECIES, name
    again = copies["folder"]
    again.save_pretrained(tmp_path / "m")  # over the file it came from
    assert be.load_model(tmp_path / "m").identify(photos) == want


def test_the_file_is_read_when_it_is_asked_for(model, photos, tmp_path):
    model.fit_gallery(photos)
    model.save_pretrained(tmp_path / "m")
    (tmp_path / "m" / "gallery.safetensors").write_bytes(b"damaged")
    again = be.load_model(tmp_path / "m")
    again.encode(photos.paths[0])
    with pytest.raises(ValueError, match=r"gallery\.safetensors"):
        again.identify(photos.paths[0])


def test_gallery_searches_images(model, photos, tmp_path):
    model.fit_gallery(photos)
    assert model.gallery.search(photos.paths[-1], k=1).labels[0] == photos.names[-1]
    model.save_pretrained(tmp_path / "m")
    again = be.load_model(tmp_path / "m")
    assert again.gallery.search(photos.paths[-1], k=1).labels[0] == photos.names[-1]


def test_added_species_are_known(model, photos, tmp_path):
    """The gallery is the model's own, not a copy."""
    model.fit_gallery(photos)
    strange = write_folder(tmp_path / "strange", range(1), ["X"])
    model.gallery.add("X", model.encode(strange.paths[0]), "X")
    one = model.identify(strange.paths[0])
    assert one.species == "X"
    assert one.score == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("label", [None, ""])
def test_a_row_without_a_species_is_refused(model, photos, label):
    model.fit_gallery(photos)
    model.gallery.add(["New bird"], model.encode(photos.paths[:1]), [label])
    with pytest.raises(ValueError, match="row 'New bird' has no label, so its species is unknown"):
        model.identify(photos.paths[0])
    model.gallery.add("New bird", model.encode(photos.paths[0]), "New", replace=True)
    assert model.identify(photos.paths[0]).species == "New"


def test_two_spellings_of_a_species_are_one(model):
    one, two = "Caf\u00e9", "Cafe\u0301"
    rows = clouds(2, 6, 512)[0].astype("f4")
    model.fit_gallery(rows, labels=[one, two] * 3 + ["Owl"] * 6)
    assert model.gallery.ids.tolist() == [one, "Owl"]
    model.species_names = {two: ("Coffee bird", "Avis")}
    assert model.species_names == {one: ("Coffee bird", "Avis")}
    found = model.identify(np.zeros((9, 9, 3), "u1"), k=2)
    assert found._names == {one: ("Coffee bird", "Avis")}
    model.species_names = {one: "Same", two: "Same"}
    with pytest.raises(ValueError, match="species_names has two names for 'Café'"):
        model.species_names = {one: "Coffee bird", two: "Tea bird"}


def test_several_rows_of_a_species_count_once(model, photos):
    model.fit_gallery(photos)
    model.gallery.add("second", model.encode(photos.paths[0]), photos.names[0])
    one = model.identify(photos.paths[0])
    assert [name for name, _ in one.matches].count(photos.names[0]) == 1
    assert one.score == pytest.approx(1, abs=1e-6)


def test_a_species_that_cannot_be_read_is_named(model, photos, tmp_path):
    folder = write_folder(tmp_path / "p", range(2))
    for path in folder.paths[:2]:
        Path(path).write_bytes(b"no picture")
    with pytest.warns(UserWarning, match="gallery lacks 'DUNNOCK': none") as caught:
        fit = model.fit_gallery(folder)
    assert caught[0].filename == __file__
    assert len(fit.failures) == 2
    assert model.gallery.labels.tolist() == SPECIES[1:]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -np.inf])
def test_thresholds_that_are_none(model, value):
    model.threshold = 0.5
    with pytest.raises(ValueError, match="threshold must be finite"):
        model.threshold = value
    with pytest.raises(TypeError, match="threshold must be a number"):
        model.threshold = "high"
    assert model.threshold == 0.5
    model.threshold = None
    assert model.threshold is None


def test_refused(model, photos, tmp_path):
    with pytest.raises(TypeError, match="ImageFolder"):
        model.fit_gallery(np.zeros((2, 512), np.float32))
    with pytest.raises(ValueError, match="accept"):
        model.fit_gallery(photos, accept=0)
    with pytest.raises(ValueError, match="accept"):
        model.fit_gallery(photos, accept=1.5)
    with pytest.raises(TypeError, match="accept must be a number, got 'x'"):
        model.fit_gallery(photos, accept="x")
    with pytest.raises(ValueError, match="one species"):
        model.fit_gallery(photos.select(["JAY"]))
    with pytest.raises(ValueError, match="only one image"):
        model.fit_gallery(photos.select(per_class=1))
    with pytest.raises(ValueError, match="data has 8 dimensions, the model has 512"):
        model.fit_gallery(np.ones((12, 8), np.float32), labels=photos.names[:12])
    foreign = write_folder(tmp_path / "x", range(1), ["X"])
    with pytest.raises(ValueError, match="'X', which is not in data"):
        model.fit_gallery(photos, valid=foreign)
    assert model.gallery is None
    assert model.threshold is None
    model.threshold = 0.5
    model.fit_gallery(photos.select(["JAY"]), unknown=foreign)
    assert model.threshold != 0.5
