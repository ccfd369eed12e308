"""Training options: defaults, checks, what is stored."""

import copy
import inspect
import json
import math
import pickle

import numpy as np
import pytest

from birdembed.training.config import TrainConfig
from birdembed.training.losses import SupCon


def test_defaults_are_all_there_and_survive_json():
    config = TrainConfig()
    assert (config.lr, config.head_lr, config.weight_decay) == (1e-3, 5e-3, 0.05)
    assert config.warmup_epochs == pytest.approx(0.8)
    again = TrainConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert copy.deepcopy(config) == pickle.loads(pickle.dumps(config)) == config


def test_its_signature_is_its_fields():
    assert list(inspect.signature(TrainConfig).parameters) == list(TrainConfig().to_dict())
    assert TrainConfig(class_weights=np.ones(3)).class_weights == (1, 1, 1)


def test_what_was_filled_in_follows_a_change():
    config = TrainConfig(lr=1e-3).with_options(lr=1e-4, optimizer="sgd", epochs=20)
    assert config.head_lr == pytest.approx(5e-4)
    assert config.weight_decay == 1e-4
    assert config.warmup_epochs == pytest.approx(2.0)
    assert TrainConfig(head_lr=0.5).with_options(lr=1e-4).head_lr == 0.5


def test_a_stored_config_keeps_what_was_given_and_fills_in_the_rest():
    given = {"head_lr": 0.5, "weight_decay": 0.01, "warmup_epochs": 0.3}
    for names in ([], ["head_lr"], ["weight_decay"], ["warmup_epochs"], list(given)):
        options = {name: given[name] for name in names}
        config = TrainConfig(epochs=2, lr=1e-4, **options)
        stored = json.loads(json.dumps(config.to_dict()))
        assert TrainConfig.from_dict(stored) == config
        assert TrainConfig.from_dict(stored, epochs=12) == config.with_options(epochs=12)


def test_supcon_survives_json_and_an_own_loss_must_be_given_again():
    config = TrainConfig(loss=SupCon(0.2, 0.5), image_size=[(2, 128), (1, 160)], freeze=["conv1"])
    again = TrainConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config

    def own(features, labels):
        return 0.0, np.zeros_like(features)

    values = json.loads(json.dumps(TrainConfig(loss=own).to_dict()))
    with pytest.raises(ValueError, match="pass it again as loss="):
        TrainConfig.from_dict(values)
    assert TrainConfig.from_dict(values, loss=own).loss is own


@pytest.mark.parametrize(
    ("name", "meant"),
    [("learning_rate", "lr"), ("batchsize", "batch_size"), ("Epochs", "epochs"), ("wd", "weight")],
)
def test_unknown_options_are_refused_with_a_suggestion(name, meant):
    with pytest.raises(TypeError, match=f"{name}.*{meant}"):
        TrainConfig(**{name: 1})
    with pytest.raises(TypeError, match=f"{name}.*{meant}"):
        TrainConfig().with_options(**{name: 1})


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"epochs": 0}, ValueError, "epochs must be 1"),
        ({"epochs": True}, TypeError, "epochs"),
        ({"batch_size": 2.0}, TypeError, "batch_size"),
        ({"lr": "fast"}, TypeError, "lr"),
        ({"lr": math.nan}, ValueError, "lr"),
        ({"lr": 1e308}, ValueError, r"^lr must be finite, at least 0 and at most 1e\+37"),
        ({"lr": math.inf}, ValueError, "^lr must be finite"),
        ({"lr": -1}, ValueError, "^lr must be finite, at least 0"),
        ({"head_lr": 1e39}, ValueError, "head_lr must be finite, at least 0 and at most"),
        ({"weight_decay": 1e308}, ValueError, "weight_decay must be finite, at least 0 and at"),
        ({"optimizer": "adam"}, ValueError, "optimizer must be one of 'sgd', 'adamw', got 'adam'"),
        ({"schedule": ["cosine"]}, ValueError, "schedule"),
        ({"label_smoothing": 1.0}, ValueError, "label_smoothing"),
        ({"ema": 1.0}, ValueError, "ema"),
        ({"grad_clip": 0}, ValueError, "grad_clip"),
        ({"image_size": 100}, ValueError, "multiple of 32 from 96 to 384, got 100"),
        ({"image_size": [(1, 64)]}, ValueError, "image_size"),
        ({"image_size": [128]}, ValueError, "pairs"),
        ({"freeze": 3}, TypeError, "freeze"),
        ({"bn": "eval"}, ValueError, "bn"),
        ({"loss": "triplet"}, ValueError, "loss"),
        ({"loss": SupCon}, TypeError, r"loss is the class SupCon; pass an instance.*SupCon\(\)"),
        ({"loss": ["cross_entropy", SupCon]}, TypeError, "loss is the class SupCon"),
        ({"on_error": "nan"}, ValueError, "on_error"),
        ({"class_weights": "equal"}, TypeError, "class_weights"),
        ({"class_weights": np.array(1)}, TypeError, "class_weights must be 'balanced', numbers"),
        ({"class_weights": np.ones((2, 2))}, TypeError, "class_weights must be 'balanced'"),
        ({"class_weights": [[1], [2, 3]]}, TypeError, "class_weights must be a number"),
        ({"augment": "weak"}, ValueError, "augment must be one of None, 'default', 'turned', "),
    ],
)
def test_bad_options_are_refused_by_name(options, error, text):
    with pytest.raises(error, match=text):
        TrainConfig(**options)


def test_sizes_grow_and_the_last_one_stays():
    config = TrainConfig(image_size=[(2, 128), (1, 192)])
    assert [config.size_at(epoch, 224) for epoch in range(5)] == [128, 128, 192, 192, 192]
    assert TrainConfig().size_at(0, 224) == 224
    with pytest.raises(ValueError, match="image_size"):
        TrainConfig().size_at(0, 300)
