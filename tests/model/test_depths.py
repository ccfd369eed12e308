"""Networks of other depths through all that a `Model` does."""

import numpy as np
import pytest

import birdembed as be
from birdembed import _core
from tests.support import seeded, tolerances
from tests.support.models import make_model
from tests.support.train_data import make_folder

PREPROCESS = be.Preprocess(size=64)


def cosine(a, b):
    return float(np.diagonal(be.cosine_similarity(a, b)).min())


@pytest.fixture(scope="module")
def images():
    return seeded.pictures(6)


def test_what_it_is(images, tmp_path):
    model = be.Model("resnet18d", 3, class_names=["kea", "tui", "moa"], preprocess=PREPROCESS)
    assert model.embedding_dim == 512
    for word in ("resnet18d", "512", "3 classes"):
        assert word in repr(model)
    vectors = model.encode(images)
    assert vectors.shape == (6, 512)
    assert model.encode([]).shape == (0, 512)
    assert model.forward_features(images[:2]).shape == (2, 512, 2, 2)
    assert model.forward_features([]).shape == (0, 512, 2, 2)
    assert len(model.predict(images[0], 3)) == 3
    model.save_pretrained(tmp_path)
    back = be.load_model(tmp_path)
    assert (back.architecture, back.fingerprint) == ("resnet18d", model.fingerprint)
    np.testing.assert_array_equal(back.encode(images), vectors)
    weights = be.load_model("resnet18d", weights=tmp_path / "model.safetensors")
    assert weights.class_names is None
    with pytest.raises(be.WeightsError, match="holds a resnet18d, expected a resnet34d"):
        be.load_model("resnet34d", weights=tmp_path / "model.safetensors")
    assert be.Model("resnet18", preprocess=PREPROCESS).fingerprint != model.fingerprint


def test_a_fresh_head_has_as_many_columns(images):
    model = be.Model("resnet34", preprocess=PREPROCESS)
    model.reset_classifier(4)
    assert model.state_dict()["fc.weight"].shape == (4, 512)
    assert model.logits(images[:1]).shape == (1, 4)


def test_projection_and_explanation(images):
    model = be.Model("resnet18", preprocess=PREPROCESS)
    raw = model.encode(images)
    score = float(be.cosine_similarity(raw[0], raw[1]))
    assert be.explain_match(model, images[0], images[1]).score == pytest.approx(score, abs=1e-5)
    with pytest.raises(ValueError, match=r"2048 dimensions, expected the 512"):
        model.fit_projection(np.zeros((6, 2048), np.float32), method="center", dim=2)
    model.fit_projection(raw, method="center", dim=4)
    assert model.encode(images).shape == (6, 4)
    assert be.explain_match(model, images[0], images[1]).pairs.shape == (2, 2, 2, 2)


@pytest.mark.parametrize("architecture", ["resnet18d", "resnet34"])
def test_other_precisions(architecture, images):
    model = make_model(architecture, size=64)
    exact = model.encode(images)
    if _core.backend()["bfloat16"]:
        model.precision = "bfloat16"
        assert cosine(model.encode(images), exact) >= 0.999
        np.testing.assert_array_equal(model.encode(images)[:1], model.encode(images[:1]))
    if _core.backend()["int8"]:
        model.quantize(images, show_progress_bar=False)
        assert model.precision == "int8"
        assert cosine(model.encode(images), exact) >= 0.99
        np.testing.assert_array_equal(model.encode(images)[:1], model.encode(images[:1]))


def test_half_the_space(images, tmp_path):
    model = make_model("resnet18", size=64)
    model.save_pretrained(tmp_path, dtype="float16")
    assert 1 - cosine(be.load_model(tmp_path).encode(images), model.encode(images)) < (
        tolerances.FLOAT16_COSINE
    )


@pytest.mark.parametrize(
    "architecture", [pytest.param("resnet18", marks=pytest.mark.slow), "resnet18d"]
)
def test_it_learns_and_goes_on(architecture, tmp_path):
    make_folder(tmp_path / "train", per_class=4)
    train = be.ImageFolder(tmp_path / "train")
    model = be.Model(architecture, preprocess=be.Preprocess(size=96))
    options = {
        "image_size": 96,
        "batch_size": 8,
        "layer_decay": 0.9,
        "ema": 0.5,
        "loss": be.SupCon(weight=0.2),
        "checkpoint_dir": tmp_path / "checkpoints",
    }
    before = model.state_dict()
    history = be.fine_tune(model, train, epochs=2, **options)
    history = be.fine_tune(model, train, epochs=4, resume=True, **options)
    losses = [epoch["train_loss"] for epoch in history.epochs]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    assert model.num_classes == len(train.class_names)
    after = model.state_dict()
    assert all(np.isfinite(array).all() for array in after.values())
    unmoved = [name for name in before if np.array_equal(before[name], after[name])]
    assert not unmoved
