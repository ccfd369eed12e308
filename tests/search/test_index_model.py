"""Index and evaluation with the real decoder and a real network (random weights)."""

import numpy as np
import pytest

import birdembed as be

PIL = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes with two pictures each, and a damaged one."""
    root = tmp_path_factory.mktemp("birds")
    rng = np.random.default_rng(0)
    for c, name in enumerate(["auk", "robin", "wren"]):
        (root / name).mkdir()
        for i in range(2):
            pixels = rng.integers(0, 256, (6, 6, 3)).astype(np.uint8)
            pixels[..., c] = 255
            PIL.fromarray(pixels).resize((64, 64)).save(root / name / f"{i}.png")
    (root / "wren" / "2.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return root


@pytest.fixture(scope="module")
def model():
    return be.Model("resnet50", num_classes=0, seed=0, preprocess=be.Preprocess(size=64))


def test_build_and_search(folder, model, tmp_path):
    index = be.Index.build(model, folder, cache=tmp_path / "cache")
    assert len(index) == 6
    assert [failure[0] for failure in index.report.failures] == [6]
    assert "2.jpg" in index.report.failures[0][1]
    paths = [str(folder / name) for name in index.ids]
    assert (index.embeddings == model.encode(paths)).all()
    index.save(tmp_path / "birds.index")
    again = be.Index.build(model, folder, cache=tmp_path / "cache")
    assert again.report == index.report
    again.save(tmp_path / "again.index")
    assert (tmp_path / "again.index").read_bytes() == (tmp_path / "birds.index").read_bytes()

    loaded = be.Index.load(tmp_path / "birds.index", model=model)
    result = loaded.search(paths, k=1)
    assert result.paths[:, 0].tolist() == paths
    assert (result.scores == 1).all()
    pixels = be.decode_image(paths[3])
    for query in (paths[3], PIL.open(paths[3]), pixels, open(paths[3], "rb").read()):
        one = loaded.search(query, k=2)
        assert one.ids[0] == index.ids[3]
        assert one.scores[0] == 1
    other = be.Model("resnet50", num_classes=0, seed=1, preprocess=model.preprocess)
    with pytest.raises(be.FingerprintMismatch):
        be.Index.load(tmp_path / "birds.index", model=other)


def test_evaluate(folder, model):
    result = be.evaluate(model, be.ImageFolder(folder), robustness=True)
    assert result.n == 6
    assert len(result.failures) == 1
    data = be.ImageFolder(folder)
    good = [path for path in data.paths if not path.endswith("2.jpg")]
    flipped = model.encode([be.decode_image(path)[:, ::-1] for path in good])
    same = np.mean(np.diag(be.cosine_similarity(model.encode(good), flipped)))
    assert result.robustness["flip"]["self_similarity"] == pytest.approx(same, abs=1e-5)


def test_evaluate_with_a_head(folder):
    model = be.Model("resnet50", num_classes=3, seed=0, preprocess=be.Preprocess(size=64))
    data = be.ImageFolder(folder)
    result = be.evaluate(model, data)
    good = [i for i, path in enumerate(data.paths) if not path.endswith("2.jpg")]
    best = model.predict_proba([data.paths[i] for i in good]).argmax(axis=1)
    assert result.accuracy == np.mean(best == data.labels[good])
    assert result.top5 == 1
    assert result.confusion.sum() == 6
