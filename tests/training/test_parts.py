"""Options, schedules, parameter groups, losses: what a training is made of."""

import copy
import inspect
import json
import math
import pickle

import numpy as np
import pytest

from birdembed import _core
from birdembed.training.callbacks import Callback, Callbacks
from birdembed.training.config import TrainConfig
from birdembed.training.history import History
from birdembed.training.losses import SupCon
from birdembed.training.param_groups import plan_parameters
from birdembed.training.schedule import ema_decay, schedule_factor

# Options


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
        ({"on_error": "nan"}, ValueError, "on_error"),
        ({"class_weights": "equal"}, TypeError, "class_weights"),
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


# Schedules


def test_cosine_with_warmup():
    values = [schedule_factor("cosine", step, 100, 10) for step in range(100)]
    assert values[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert values[10] == 1.0
    assert values[55] == pytest.approx(0.5)
    assert values[99] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
    assert np.all(np.diff(values[10:]) < 0)
    assert schedule_factor("cosine", 500, 100, 10) == values[99]


def test_the_other_schedules():
    assert {schedule_factor("constant", s, 9) for s in range(9)} == {1.0}
    steps = [schedule_factor("step", s, 9) for s in range(9)]
    assert steps == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])
    cycle = [schedule_factor("onecycle", s, 101, 25) for s in range(101)]
    assert cycle[0] == pytest.approx(1 / 25)
    assert cycle[25] == 1.0 == max(cycle)
    assert cycle[-1] == pytest.approx(1e-5)
    assert np.all(np.diff(cycle[:26]) > 0)
    assert np.all(np.diff(cycle[25:]) < 0)


def test_schedules_hold_on_the_shortest_runs():
    for kind in ("constant", "step", "cosine", "onecycle"):
        for total in (1, 2, 3):
            for warmup in (0, 0.1, total, 10 * total):
                for step in range(total + 1):
                    assert 0 <= schedule_factor(kind, step, total, warmup) <= 1


def test_ema_decay_rises_to_what_was_asked():
    values = [ema_decay(0.998, step) for step in range(3000)]
    assert values[0] == 0.25
    assert np.all(np.diff(values) >= 0)
    assert values[-1] == 0.998


# Parameter groups


@pytest.mark.parametrize("architecture", ["resnet50", "resnet50d"])
def test_decay_only_on_weights_of_convolutions_and_head(architecture):
    table = _core.parameter_table(architecture, 7)
    plan = plan_parameters(table, TrainConfig())
    for (name, shape), lr, decay, learns in zip(
        table, plan.lr, plan.weight_decay, plan.trainable, strict=True
    ):
        if "running" in name:
            assert (lr, decay, learns) == (0, 0, False)
            continue
        assert learns
        assert lr == (5e-3 if name.startswith("fc.") else 1e-3)
        assert decay == (np.float32(0.05) if len(shape) > 1 else 0)


def test_layer_decay_falls_block_by_block():
    table = _core.parameter_table("resnet50", 7)
    plan = plan_parameters(table, TrainConfig(layer_decay=0.5, head_lr=1e-3))
    lr = dict(zip([name for name, _ in table], plan.lr, strict=True))
    assert lr["fc.weight"] == 1e-3
    assert lr["layer4.2.conv3.weight"] == pytest.approx(5e-4)
    assert lr["layer4.1.bn1.bias"] == pytest.approx(2.5e-4)
    assert lr["layer1.0.downsample.0.weight"] == pytest.approx(1e-3 * 0.5**16)
    assert lr["conv1.weight"] == lr["bn1.weight"] == pytest.approx(1e-3 * 0.5**17)


def test_freezing_by_prefix_and_of_batch_norm():
    table = _core.parameter_table("resnet50", 7)
    names = [name for name, _ in table]
    plan = plan_parameters(table, TrainConfig(freeze=("conv1", "bn1", "layer1.")))
    learns = dict(zip(names, plan.trainable, strict=True))
    assert not learns["conv1.weight"]
    assert not learns["layer1.2.bn3.bias"]
    assert learns["layer2.0.conv1.weight"]
    assert plan.lr[names.index("conv1.weight")] == 0
    frozen = plan_parameters(table, TrainConfig(bn="frozen"))
    learns = dict(zip(names, frozen.trainable, strict=True))
    assert not learns["layer3.0.bn2.weight"]
    assert not learns["layer2.0.downsample.1.bias"]
    assert learns["layer2.0.downsample.0.weight"]
    kept = plan_parameters(table, TrainConfig(bn="frozen_stats"))
    assert kept.trainable[names.index("bn1.weight")]


def test_freezing_what_is_not_there_or_everything_is_refused():
    table = _core.parameter_table("resnet50", 7)
    with pytest.raises(ValueError, match=r"begins with 'layer5'.*'layer"):
        plan_parameters(table, TrainConfig(freeze=("layer5",)))
    with pytest.raises(ValueError, match="nothing to train"):
        plan_parameters(table, TrainConfig(freeze=("conv1", "bn1", "layer", "fc")))


# SupCon


def naive_supcon(features, labels, temperature):
    z = features / np.linalg.norm(features, axis=1, keepdims=True)
    terms = []
    for i in range(len(z)):
        positives = [p for p in range(len(z)) if p != i and labels[p] == labels[i]]
        if positives:
            below = sum(math.exp(z[i] @ z[a] / temperature) for a in range(len(z)) if a != i)
            terms.append(
                -sum(math.log(math.exp(z[i] @ z[p] / temperature) / below) for p in positives)
                / len(positives)
            )
    return sum(terms) / len(terms)


def test_supcon_is_the_papers_and_its_gradient_is_its_slope():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((9, 5))
    labels = np.array([0, 0, 1, 1, 1, 2, 2, 0, 3])
    loss = SupCon(temperature=0.3, weight=0.7)
    value, slope = loss(features, labels)
    assert value == pytest.approx(0.7 * naive_supcon(features, labels, 0.3), rel=1e-12)
    numeric = np.zeros_like(features)
    for at in np.ndindex(features.shape):
        for sign in (1, -1):
            moved = features.copy()
            moved[at] += sign * 1e-5
            numeric[at] += sign * loss(moved, labels)[0] / 2e-5
    assert np.abs(slope - numeric).max() < 1e-8
    assert np.abs(slope).max() > 0.01


def test_supcon_of_nothing_alike_of_zero_rows_and_of_float32():
    features = np.ones((3, 4), np.float32)
    value, slope = SupCon()(features, np.array([0, 1, 2]))
    assert value == 0
    assert slope.dtype == np.float32
    assert not slope.any()
    features[0] = 0
    value, slope = SupCon()(features, np.array([0, 0, 1]))
    assert math.isfinite(value)
    assert np.isfinite(slope).all()
    with pytest.raises(ValueError, match="temperature"):
        SupCon(temperature=0)


# Callbacks and history


def test_callbacks_take_objects_and_functions_and_only_false_stops():
    heard = []

    class Own(Callback):
        def on_step_end(self, trainer, logs):
            heard.append(("step", logs["step"]))
            return 0

    class Alike:
        def on_epoch_end(self, trainer, logs):
            heard.append(("epoch", logs["epoch"]))

    told = Callbacks([Own(), Alike(), lambda trainer, logs: logs["epoch"] < 2])
    assert told.tell("on_step_end", None, {"step": 1})
    assert told.tell("on_epoch_end", None, {"epoch": 1})
    assert not told.tell("on_epoch_end", None, {"epoch": 2})
    assert heard == [("step", 1), ("epoch", 1), ("epoch", 2)]
    with pytest.raises(TypeError, match="make an instance"):
        Callbacks([Own])
    with pytest.raises(TypeError, match="callback must be"):
        Callbacks([3])


def test_best_epoch_by_each_monitor_ties_by_loss_then_by_time():
    epochs = [
        {"epoch": 1, "valid_accuracy": 0.9, "valid_loss": 0.5, "map_at_r": 0.9},
        {"epoch": 2, "valid_accuracy": 0.9, "valid_loss": 0.4, "map_at_r": 0.2},
        {"epoch": 3, "valid_accuracy": 0.9, "valid_loss": 0.4, "map_at_r": float("nan")},
        {"epoch": 4, "valid_accuracy": 0.8, "valid_loss": 0.1, "map_at_r": None},
    ]
    best = {m: History(epochs, m).best["epoch"] for m in ("accuracy", "loss", "map_at_r")}
    assert best == {"accuracy": 2, "loss": 4, "map_at_r": 1}
    assert History(epochs, validated=False).best["epoch"] == 4
    assert History().best == {}


def test_history_shows_itself():
    history = History([{"epoch": 1, "train_loss": 2.5, "valid_accuracy": 0.5, "valid_loss": 2.0}])
    assert "1 epochs" in repr(history)
    assert "2.5" in history._repr_html_()
    pytest.importorskip("matplotlib")
    assert len(history.plot().axes) == 2


def test_history_as_a_table():
    pytest.importorskip("pandas")
    history = History([{"epoch": 1, "train_loss": 2.5}])
    assert history.to_pandas()["train_loss"].tolist() == [2.5]
