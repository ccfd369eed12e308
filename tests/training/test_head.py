"""The head that a training starts with: a new one trained first, or the model's own."""

import logging

import numpy as np
import pytest

from birdembed import BirdembedError, TrainConfig
from birdembed.training.fine_tune import fine_tune
from birdembed.training.head import train_head
from birdembed.training.trainer import Trainer
from tests.support.small_training import EASY, new_model, weights
from tests.support.train_data import NAMES

pytestmark = pytest.mark.usefixtures("small_core")


def test_a_new_head_is_trained_first(train, caplog):
    caplog.set_level(logging.INFO, "birdembed")
    trainer = Trainer(new_model(), train, epochs=1, **EASY)
    trainer.fit()
    assert "trained the classifier first" in caplog.text
    caplog.clear()
    Trainer(trainer.model, train, epochs=1, **EASY).fit()
    assert "trained the classifier first" not in caplog.text


def test_an_own_head_is_kept_in_the_datas_order(train, caplog):
    caplog.set_level(logging.INFO, "birdembed")
    order = ["owl", "wren", "finch", "jay"]
    model = new_model(num_classes=4, class_names=order, seed=5)
    old = weights(model)
    model = Trainer(model, train, **EASY).model
    rows = [order.index(name) for name in NAMES]
    assert model.class_names == list(NAMES)
    assert np.array_equal(weights(model)["fc.weight"], old["fc.weight"][rows])
    assert np.array_equal(weights(model)["fc.bias"], old["fc.bias"][rows])
    assert "replaced" not in caplog.text
    unnamed = new_model(num_classes=4, seed=5)
    assert np.array_equal(
        weights(Trainer(unnamed, train, **EASY).model)["fc.weight"], old["fc.weight"]
    )


@pytest.mark.parametrize("names", [["a", "b", "c", "d"], None])
def test_another_head_is_replaced_and_said_so(train, caplog, names):
    caplog.set_level(logging.INFO, "birdembed")
    model = new_model(num_classes=4 if names else 7, class_names=names, seed=5)
    old = weights(model)["fc.weight"]
    model = Trainer(model, train, **EASY).model
    assert not np.array_equal(weights(model)["fc.weight"], old[:4])
    assert "replaced by a new one for the 4 classes" in caplog.text


def test_a_head_trained_first_tells_the_classes_apart():
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    centers = np.eye(3, 20, dtype=np.float32)
    features = centers[labels] + 0.3 * rng.standard_normal((300, 20)).astype(np.float32)
    config = TrainConfig(head_epochs=60)
    start = np.zeros((3, 20), np.float32), np.zeros(3, np.float32)
    weight, bias, accuracy = train_head(*start, features, labels, config)
    assert accuracy > 0.95
    assert not start[0].any()
    again = train_head(*start, features, labels, config)
    assert np.array_equal(weight, again[0])
    only = train_head(*start, features, labels, config, np.array([1, 0, 0], np.float32))
    assert ((features @ only[0].T + only[1]).argmax(axis=1) == 0).mean() > 0.9
    assert bias.shape == (3,)


def test_images_of_weight_zero_are_no_part_of_the_head():
    rng = np.random.default_rng(0)
    labels = np.array([0] * 290 + [1, 2] * 5)
    centers = np.eye(3, 20, dtype=np.float32)
    features = centers[labels] + 0.3 * rng.standard_normal((300, 20)).astype(np.float32)
    config = TrainConfig(head_epochs=60)
    start = np.zeros((3, 20), np.float32), np.zeros(3, np.float32)
    # With weights, a block of 128 images may have none that counts.
    found = train_head(*start, features, labels, config, np.array([0, 1, 1], np.float32))
    assert np.isfinite(found[0]).all()
    scores = features @ found[0].T + found[1]
    rare = labels > 0
    assert (scores.argmax(axis=1)[rare] == labels[rare]).all()
    none = train_head(*start, features, labels * 0, config, np.array([0, 1, 1], np.float32))
    assert not none[0].any()
    assert not none[1].any()


@pytest.mark.filterwarnings("error")
def test_large_equal_weights_are_equal_weights(train, valid):
    first, last = (
        fine_tune(new_model(), train, valid, 1, class_weights=weights, **EASY)
        for weights in ([1e38] * 4, [1] * 4)
    )
    assert first.best["train_loss"] == last.best["train_loss"]


@pytest.mark.parametrize(
    "options",
    [{}, {"num_classes": 3}, {"num_classes": 4, "class_names": [*NAMES[:3], "dodo"]}],
)
@pytest.mark.parametrize("freeze", ["fc.", "fc", "fc.weight"])
def test_a_new_head_cannot_be_frozen(train, monkeypatch, options, freeze):
    model = new_model(**options)
    before = model._current
    trainer = Trainer(model, train, epochs=1, freeze=freeze, **EASY)
    with monkeypatch.context() as patch:
        patch.setattr(trainer._run.batches, "check", None)  # it shows before images are read
        with pytest.raises(ValueError, match="freezes the classifier, but the model has none for"):
            trainer.fit()
    assert model._current is before
    x = np.zeros((2, 3, 96, 96), np.float32)
    with pytest.raises(ValueError, match="freezes the classifier, but the model has none for"):
        trainer.step(x, np.array([0, 1]))


def test_an_own_head_can_be_frozen_and_resumed(train, tmp_path):
    model = new_model(num_classes=4, class_names=NAMES)
    fc = weights(model)["fc.weight"]
    options = {**EASY, "freeze": "fc.", "ema": None, "checkpoint_dir": tmp_path}
    fine_tune(model, train, None, 1, **options)
    assert np.array_equal(weights(model)["fc.weight"], fc)
    other = new_model()
    fine_tune(other, train, None, 2, resume=True, **options)
    assert np.array_equal(weights(other)["fc.weight"], fc)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("decay", [1e10, 1e38])
def test_a_weight_decay_that_is_too_large_is_named(train, decay):
    model = new_model()
    before = model._current
    with pytest.raises(BirdembedError, match=r"new classifier alone .* a smaller weight_decay may"):
        fine_tune(model, train, None, 1, weight_decay=decay, **EASY)
    assert model._current is before
