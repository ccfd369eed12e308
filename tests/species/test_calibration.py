"""The probability that the nearest species is right."""

import json
import pickle

import numpy as np
import pytest

import birdembed as be
from birdembed.base.text import probability
from birdembed.base.vectors import unit_rows
from birdembed.search.shared_rows import rows_of
from birdembed.species.calibration import (
    Calibration,
    best_and_margin,
    fit_calibration,
    held_out_probabilities,
    reliability,
)
from birdembed.species.identify import nearest_species
from birdembed.species.threshold import held_out_margins, held_out_scores
from tests.support.species import clouds

TRUE = Calibration(bias=-4.0, score=3.0, margin=8.0)


def drawn(n, seed=0, calibration=TRUE):
    """Return scores, margins and answers that are right as often as a calibration says."""
    rng = np.random.default_rng(seed)
    scores, margins = rng.uniform(0.3, 1, n), rng.uniform(0, 0.6, n)
    return scores, margins, rng.random(n) < calibration.probability(scores, margins)


def test_the_fit_finds_what_the_answers_were_drawn_from():
    scores, margins, right = drawn(20_000)
    fit = fit_calibration(scores, margins, right, np.ones(len(right)))
    for name, value in TRUE.to_dict().items():
        assert getattr(fit, name) == pytest.approx(value, rel=0.1), name
    # At the optimum what is stated sums to what is right.
    stated = fit.probability(scores, margins)
    assert stated.mean() == pytest.approx(right.mean(), abs=1e-3)


def test_a_weight_counts_as_so_many_rows():
    scores, margins, right = drawn(400)
    twice = np.concatenate([np.arange(400), np.flatnonzero(~right)])
    weighed = fit_calibration(scores, margins, right, np.where(right, 1.0, 2.0))
    rows = fit_calibration(scores[twice], margins[twice], right[twice], np.ones(len(twice)))
    # Not quite: the targets count rows.
    np.testing.assert_allclose(
        weighed.probability(scores, margins), rows.probability(scores, margins), atol=0.01
    )


def test_a_better_score_is_never_less_probable():
    scores, margins, right = drawn(2000, calibration=Calibration(0.0, -5.0, 8.0))
    fit = fit_calibration(scores, margins, right, np.ones(2000))
    assert fit.score == 0
    assert fit.margin > 0
    scores, margins, right = drawn(2000, calibration=Calibration(4.0, -3.0, -8.0))
    fit = fit_calibration(scores, margins, right, np.ones(2000))
    assert (fit.score, fit.margin) == (0, 0)
    assert fit.probability(1, 1) == pytest.approx(right.mean(), abs=1e-3)


@pytest.mark.parametrize("all_right", [True, False])
def test_answers_that_are_all_alike_are_not_certain(all_right):
    scores, margins, _ = drawn(60)
    right = np.full(60, all_right)
    fit = fit_calibration(scores, margins, right, np.ones(60))
    want = 61 / 62 if all_right else 1 / 62
    assert fit.probability(scores, margins) == pytest.approx(want, abs=1e-6)


def test_scores_that_separate_stay_finite():
    scores = np.repeat([0.2, 0.9], 50)
    fit = fit_calibration(scores, scores, scores > 0.5, np.ones(100))
    low, high = fit.probability([0.2, 0.9], [0.2, 0.9])
    assert 0 < low < 0.1
    assert 0.9 < high < 1
    constant = fit_calibration(np.ones(100), np.ones(100), scores > 0.5, np.ones(100))
    assert constant.probability(1, 1) == pytest.approx(0.5)


def test_reliability():
    stated = np.array([0.95, 0.95, 0.55, 0.55, 1.0])
    right = np.array([True, False, True, False, True])
    error, bins = reliability(stated, right, np.ones(5))
    assert [row["n"] for row in bins] == [2, 3]
    assert bins[0]["probability"] == pytest.approx(0.55)
    assert bins[1]["right"] == pytest.approx(2 / 3)
    assert error == pytest.approx(2 / 5 * 0.05 + 3 / 5 * (2.9 / 3 - 2 / 3))
    assert reliability(stated, right, np.full(5, 3.0))[0] == pytest.approx(error)


def test_what_is_drawn_is_calibrated_what_is_shifted_is_not():
    scores, margins, right = drawn(5000)
    ones = np.ones(5000)
    stated = held_out_probabilities(scores, margins, right, ones)
    assert reliability(stated, right, ones)[0] < 0.03
    assert reliability(stated**4, right, ones)[0] > 0.1


def test_best_and_margin():
    best, margin = best_and_margin(np.array([[0.1, 0.9, 0.4], [0.5, 0.2, 0.5]]))
    assert best.tolist() == [0.9, 0.5]
    assert margin.tolist() == [0.5, 0]


def test_held_out_margins_are_those_of_smaller_galleries():
    rows, labels = clouds(4, 5, 8, spread=0.5)
    rows, labels = rows[:-4], labels[:-4]  # the last species has one picture
    units = unit_rows(rows)
    known, _, _ = held_out_scores(units, labels, 4)
    margins = held_out_margins(units, labels, 4)
    assert len(margins) == len(known) == 15
    for i in range(15):
        keep = np.arange(len(rows)) != i
        table = np.stack([unit_rows(units[keep & (labels == c)].sum(0)[None])[0] for c in range(4)])
        second, best = np.sort(table @ units[i])[-2:]
        assert known[i] == pytest.approx(best, abs=1e-12)
        assert margins[i] == pytest.approx(best - second, abs=1e-12)


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, ""), (0.98, "probability 0.98"), (0.9999, "probability above 0.99")],
)
def test_a_probability_as_text(value, words):
    assert probability(value) == words
    assert probability(1e-4) == "probability below 0.01"


# --- in a model ----------------------------------------------------------------------


def embeddings(n=15, seed=0):
    """Return embeddings of five species, as long as a model's, and their names."""
    rows, labels = clouds(5, n, 512, seed=seed, spread=0.12)
    return rows.astype(np.float32), [f"S{label}" for label in labels]


def test_fit_gallery_calibrates(model, tmp_path):
    rows, names = embeddings()
    fit = model.fit_gallery(rows, labels=names)
    assert 0 <= fit.calibration_error < 0.3
    assert sum(row["n"] for row in fit.reliability) == fit.n_known == 75
    assert fit.to_dict()["calibration_error"] == fit.calibration_error
    now = model._current
    gallery = rows_of(model.gallery)
    found = nearest_species(rows, gallery, 0.5, 1, {}, now.gallery.calibration)
    scores = rows / np.linalg.norm(rows, axis=1, keepdims=True) @ model.gallery.embeddings.T
    want = now.gallery.calibration.probability(*best_and_margin(scores.astype(np.float64)))
    assert [one.probability for one in found] == pytest.approx(want.tolist(), abs=1e-4)
    assert all(one.probability is None for one in nearest_species(rows, gallery, 0.5, 1, {}))
    assert pickle.loads(pickle.dumps(found[0])).probability == found[0].probability
    assert found[0].to_dict()["probability"] == found[0].probability
    model.save_pretrained(tmp_path / "m")
    copies = [be.load_model(tmp_path / "m"), pickle.loads(pickle.dumps(model))]
    copies.append(pickle.loads(pickle.dumps(copies[0])))
    for again in copies:
        assert again._current.gallery.calibration == now.gallery.calibration
    copies[0].save_pretrained(tmp_path / "m")
    assert be.load_model(tmp_path / "m")._current.gallery.calibration == now.gallery.calibration
    model.preprocess = be.Preprocess(size=96)  # the gallery goes, and its calibration
    model.save_pretrained(tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert "calibration" not in config["birdembed"]


def test_strangers_make_all_answers_less_probable(model):
    rows, names = embeddings()
    scores = np.linspace(0.5, 1, 6)
    model.fit_gallery(rows, labels=names)
    without = model._current.gallery.calibration.probability(scores, scores / 2)
    strange = embeddings(seed=5)[0] + rows
    fit = model.fit_gallery(rows, strange, labels=names)
    assert sum(row["n"] for row in fit.reliability) == 150
    given = model._current.gallery.calibration.probability(scores, scores / 2)
    assert given.mean() < without.mean()


def test_too_few_pictures_give_no_probability(model, photos):
    rows, names = embeddings(n=9)
    fit = model.fit_gallery(rows, labels=names)
    assert fit.calibration_error is None
    assert fit.reliability == []
    assert model._current.gallery.calibration is None
    one = model.identify(photos.paths[0])
    assert one.probability is None
    assert one.to_dict()["probability"] is None
    alone = np.tile(rows[:9], (9, 1))
    model.fit_gallery(alone, rows[9:], labels=["S0"] * 81)
    assert model._current.gallery.calibration is None
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    with pytest.raises(ValueError, match="no calibration"):
        fit.plot_reliability()


def test_identify_shows_it(model, photos):
    vectors = np.tile(model.encode(photos), (3, 1))  # enough for a probability
    model.fit_gallery(vectors, labels=photos.names * 3)
    model.threshold = -1
    one = model.identify(photos.paths[0])
    assert 0 < one.probability < 1
    assert probability(one.probability) in one._repr_html_()
    assert probability(one.probability) in model.identify(photos)._repr_html_()
    model.threshold = 2
    assert "probability" not in model.identify(photos.paths[0])._repr_html_()


def test_the_plot_shows_the_bins(model, tmp_path):
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    rows, names = embeddings()
    fit = model.fit_gallery(rows, labels=names)
    figure = fit.plot_reliability(title="t")
    figure.savefig(tmp_path / "figure.png", dpi=40)
    upper, lower = figure.axes
    points = upper.lines[1].get_xydata()
    assert points.tolist() == [[row["probability"], row["right"]] for row in fit.reliability]
    assert [bar.get_height() for bar in lower.patches] == [row["n"] for row in fit.reliability]
    assert f"{fit.calibration_error:.3f}" in upper.get_legend().get_texts()[0].get_text()


@pytest.mark.parametrize(
    "value", [3, {"bias": 1}, {"bias": 1, "score": "x", "margin": 1}, {"bias": 1e999}]
)
def test_a_damaged_calibration_is_named(model, tmp_path, value):
    rows, names = embeddings()
    model.fit_gallery(rows, labels=names)
    model.save_pretrained(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    if isinstance(value, dict) and value["bias"] > 2:
        value = {**config["birdembed"]["calibration"], **value}
    config["birdembed"]["calibration"] = value
    path.write_text(json.dumps(config))
    named = r"calibration: (expected the numbers|not finite)"
    with pytest.raises(be.WeightsError, match=named):
        be.load_model(tmp_path / "m")
    del config["birdembed"]["calibration"]  # as older folders are
    path.write_text(json.dumps(config))
    assert be.load_model(tmp_path / "m")._current.gallery.calibration is None
