"""The parts of a similarity add up to it."""

import numpy as np
import pytest

import birdembed as be


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("projected", [False, True])
def test_the_mean_of_the_pairs_is_the_similarity(model, photos, mirror, projected):
    model.preprocess = be.Preprocess(size=96, mirror=mirror)
    if projected:
        model.fit_projection(photos, dim=8, shrinkage=0.3)
    a, b = photos.paths[0], photos.paths[-1]
    found = be.explain_match(model, a, b)
    want = be.cosine_similarity(*model.encode([a, b]))
    assert found.score == pytest.approx(want, abs=1e-5)
    assert found.pairs.shape == (3, 3, 3, 3)
    assert found.pairs.mean() == pytest.approx(found.score, abs=1e-12)
    np.testing.assert_allclose(found.map_a, found.pairs.mean(axis=(2, 3)), atol=1e-12)
    np.testing.assert_allclose(found.map_b, found.pairs.mean(axis=(0, 1)), atol=1e-12)


def test_pairs_are_dot_products_of_cells(model, photos):
    a, b = photos.paths[0], photos.paths[-1]
    found = be.explain_match(model, a, b)
    left, right = model.forward_features([a, b]).astype(np.float64)
    x, y = model.encode([a, b]).astype(np.float64)
    want = left[:, 1, 0] @ right[:, 0, 1] / np.linalg.norm(x) / np.linalg.norm(y)
    assert found.pairs[1, 0, 0, 1] == pytest.approx(want, rel=1e-5)


def test_the_other_way_round(model, photos):
    a, b = photos.paths[0], photos.paths[-1]
    there, back = be.explain_match(model, a, b), be.explain_match(model, b, a)
    np.testing.assert_allclose(there.map_a, back.map_b, atol=1e-12)
    assert be.explain_match(model, a, a).score == pytest.approx(1, abs=1e-6)


def test_best_pairs(model, photos):
    found = be.explain_match(model, photos.paths[0], photos.paths[-1])
    pairs = found.best_pairs(3)
    assert pairs[0][2] == found.pairs.max()
    (i, j), (k, m), value = pairs[0]
    assert found.pairs[i, j, k, m] == value
    assert len({a for a, _, _ in pairs}) == len({b for _, b, _ in pairs}) == 3
    assert len(found.best_pairs(99)) == 4
    assert "score" in repr(found)


def test_the_pictures_are_those_the_network_saw(model, photos):
    found = be.explain_match(model, photos.paths[0], be.decode_image(photos.paths[-1]))
    assert (found.image_a == be.decode_image(photos.paths[0])).all()  # 64 px, as the model takes
    assert (found.image_b == be.decode_image(photos.paths[-1])).all()


def test_refused(model, photos):
    with pytest.raises(TypeError, match="b must be one image"):
        be.explain_match(model, photos.paths[0], photos.paths)
    from dataclasses import replace

    gem = be.Projection("gem", np.zeros(2048, "f4"), np.eye(2048, 4, dtype="f4"))
    model._current = replace(model._current, projection=gem, project_by_default=True)
    with pytest.raises(ValueError, match="projection=False"):
        be.explain_match(model, photos.paths[0], photos.paths[1])
    be.explain_match(model, photos.paths[0], photos.paths[1], projection=False)
