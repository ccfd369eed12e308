"""Losses that imitate another model's embeddings, and losses in a list."""

import copy
import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from birdembed import Distill, ImageFolder, SupCon, TrainConfig, fine_tune
from birdembed.training.callbacks import Callback
from birdembed.training.loss_options import own_losses
from birdembed.training.lr_find import lr_find
from birdembed.training.similarity_loss import relation_loss
from birdembed.training.trainer import Trainer
from tests.support.small_training import EASY, Stop, interrupt, new_model, same, unit


def teacher_rows(data, dim=6, seed=0):
    """Embeddings of which the classes are clusters."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=(int(data.labels.max()) + 1, dim))
    return (middle[data.labels] + 0.3 * rng.normal(size=(len(data), dim))).astype(np.float32)


# The object


def test_a_distill_is_its_options_and_its_targets():
    rows = np.arange(1, 13, dtype=float).reshape(4, 3)
    loss = Distill(rows, weight=2)
    assert loss == Distill(4 * rows, weight=2.0) == pickle.loads(pickle.dumps(loss))
    assert copy.deepcopy(loss) == loss
    assert hash(loss) == hash(Distill(rows, weight=2))
    assert loss != Distill(rows)
    assert loss != Distill(rows[::-1], weight=2)
    assert repr(loss).startswith("Distill(<4 x 3, sha256 ")
    assert np.linalg.norm(loss.targets, axis=1) == pytest.approx(np.ones(4))
    assert "0x" not in repr(Distill(lambda pixels: pixels))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((np.ones(3),), ValueError, r"targets must have the shape \(n, d\), got \(3,\)"),
        (([["a", "b"]],), TypeError, "targets must be numbers"),
        ((np.zeros((2, 3)),), ValueError, "row 0 is all zero or not finite"),
        (([[1, 2], [np.inf, 1]],), ValueError, "row 1"),
        (([[1, 2], [np.nan, 1]],), ValueError, "row 1"),
        ((np.ones((2, 3)), 0), ValueError, "weight"),
        ((np.ones((2, 3)), 1, "angle"), ValueError, "form must be one of 'map', 'relation', 'fea"),
        ((np.ones((2, 3)), 1, "map", 0), ValueError, "temperature"),
        ((np.ones((2, 3)), 1, "map", 1, -1), ValueError, "lr_factor"),
    ],
)
def test_bad_options_are_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        Distill(*arguments)


def test_a_relation_can_be_called_and_a_map_only_in_a_training():
    rng = np.random.default_rng(0)
    rows, features = rng.normal(size=(9, 5)), rng.normal(size=(4, 8)).astype("f4")
    batch = SimpleNamespace(positions=np.array([8, 1, 1, 3]), pixels=None)
    loss, slope = Distill(rows, 3.0, "relation")(features, batch)
    wanted = relation_loss(features, unit(rows)[batch.positions], 0.1)
    assert loss == pytest.approx(3 * wanted[0], rel=1e-5)
    assert slope.dtype == np.float32
    with pytest.raises(TypeError, match="in a training"):
        Distill(rows)(features, batch)


def test_features_can_be_the_targets_themselves():
    rng = np.random.default_rng(0)
    rows, features = rng.normal(size=(9, 8)), rng.normal(size=(4, 8)).astype("f4")
    batch = SimpleNamespace(positions=np.array([8, 1, 1, 3]), pixels=None)
    loss, slope = Distill(rows, 3.0, "features")(features, batch)
    cosines = (unit(features) * unit(rows)[batch.positions]).sum(axis=1)
    assert loss == pytest.approx(3 * (1 - cosines.mean()), rel=1e-5)
    assert slope.dtype == np.float32
    same_direction = Distill(rows, form="features")(rows[batch.positions].astype("f4"), batch)
    assert same_direction[0] == pytest.approx(0, abs=1e-6)
    assert repr(Distill(rows, form="features")).endswith("form='features')")
    with pytest.raises(ValueError, match=r"have 8 dimensions, but the model has 5 features"):
        Distill(rows, form="features")(features[:, :5], batch)


@pytest.mark.usefixtures("small_core")
def test_targets_for_the_features_need_their_dimensions(train):
    loss = Distill(teacher_rows(train), form="features")
    with pytest.raises(ValueError, match="use form='map'"):
        Trainer(new_model(), train, loss=loss, **EASY)


@pytest.mark.usefixtures("small_core")
def test_features_learn_to_be_the_targets(train):
    rows = np.maximum(teacher_rows(train, 2048), 0)
    loss = [Distill(rows, weight=5.0, form="features")]
    history = fine_tune(new_model(seed=2), train, epochs=6, loss=loss, **EASY)
    first, last = (history.epochs[i]["train_loss"] for i in (0, -1))
    assert last < first - 0.5


def test_a_list_of_losses_survives_json_but_for_what_must_be_given_again():
    losses = ["cross_entropy", SupCon(0.2, 0.5)]
    config = TrainConfig(loss=losses)
    assert own_losses(config.loss) == (SupCon(0.2, 0.5),)
    stored = json.loads(json.dumps(config.to_dict()))
    assert TrainConfig.from_dict(stored) == config
    own = [*losses, Distill(np.eye(3))]
    stored = json.loads(json.dumps(TrainConfig(loss=own).to_dict()))
    with pytest.raises(ValueError, match=r"Distill.*pass it again as loss="):
        TrainConfig.from_dict(stored)
    assert TrainConfig.from_dict(stored, loss=own) == TrainConfig(loss=own)
    for wrong in ([], ["triplet"], [SupCon(), 3]):
        with pytest.raises(ValueError, match="loss must be 'cross_entropy' or a callable"):
            TrainConfig(loss=wrong)


# In a training


def cosine_to(model, data, targets):
    mapped = model.encode(data, projection=True)
    return float((unit(mapped) * unit(targets)).sum(axis=1).mean())


@pytest.mark.usefixtures("small_core")
def test_the_features_gradient_is_added_to_the_heads(train):
    """One step's gradients against those of the parts."""
    rows, other = teacher_rows(train), teacher_rows(train, 3, seed=1)
    positions = np.array([0, 13, 25, 40, 41, 7])
    x = np.random.default_rng(1).normal(size=(6, 3, 96, 96)).astype("f4")
    y = train.labels[positions]
    losses = {
        "head": "cross_entropy",
        "map": Distill(rows, 2.0),
        "relation": Distill(other, form="relation"),
        "supcon": SupCon(),
    }

    def gradients(loss):
        model = new_model(num_classes=4)
        trainer = Trainer(model, train, loss=loss, ema=None, grad_clip=None, **EASY)
        value = trainer.step(x, y, positions)
        return value, trainer.gradients()

    alone = {name: gradients(loss) for name, loss in losses.items()}
    value, together = gradients(list(losses.values()))
    head_value, head = alone["head"]
    parts = [alone[name] for name in ("map", "relation", "supcon")]
    assert value == pytest.approx(head_value + sum(v - head_value for v, _ in parts), rel=1e-5)
    for name, found in together.items():
        wanted = head[name] + sum(g[name] - head[name] for _, g in parts)
        assert found == pytest.approx(wanted, abs=1e-5), name
    assert not np.allclose(together["conv1.weight"], head["conv1.weight"])


@pytest.mark.usefixtures("small_core")
def test_it_learns_from_its_teacher_and_brings_the_map(train, valid):
    rows = teacher_rows(train)
    model = new_model()
    loss = ["cross_entropy", Distill(rows, 3.0, lr_factor=1.0), SupCon()]
    fitted = {}

    class First(Callback):
        def on_step_end(self, trainer, logs):
            if logs["step"] == 1:
                fitted["cosine"] = cosine_to(trainer.model, train, rows)

    history = fine_tune(model, train, valid, 6, loss=loss, callbacks=First(), **EASY)
    assert history.best["valid_accuracy"] > 0.8
    assert model.encode(train.paths[:2]).shape == (2, 2048)
    assert model.encode(train.paths[0], projection=True).shape == (6,)
    assert cosine_to(model, train, rows) > 0.9
    assert fitted["cosine"] > 0.5  # fitted before the first step


@pytest.mark.usefixtures("small_core")
def test_the_model_keeps_its_map_in_a_folder(train, tmp_path):
    from birdembed import load_model

    model = new_model()
    fine_tune(model, train, epochs=1, loss=Distill(teacher_rows(train)), **EASY)
    model.save_pretrained(tmp_path / "m")
    again = load_model(tmp_path / "m")
    path = train.paths[0]
    assert np.array_equal(again.encode(path, projection=True), model.encode(path, projection=True))
    assert np.array_equal(again.encode(path), model.encode(path))


@pytest.mark.usefixtures("small_core")
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_ctrl_c_and_resume_ends_with_the_same_bits(train, valid, tmp_path, optimizer, accumulate):
    def losses():
        return [SupCon(), Distill(teacher_rows(train)), Distill(teacher_rows(train, 3))]

    options = {**EASY, "optimizer": optimizer, "accumulate": accumulate, "checkpoint_every": 2}
    whole = new_model()
    fine_tune(whole, train, valid, 3, loss=losses(), checkpoint_dir=tmp_path / "a", **options)
    model = new_model()
    for at in (1, 4):
        with pytest.raises(KeyboardInterrupt):
            fine_tune(
                model,
                train,
                valid,
                3,
                loss=losses(),
                resume=True,
                checkpoint_dir=tmp_path / "b",
                callbacks=Stop(at, interrupt),
                **options,
            )
    trainer = Trainer.resume(tmp_path / "b", train, valid, loss=losses())
    trainer.fit()
    assert [p.dim for p in trainer.projections] == [6, 3]
    assert same(trainer.model.state_dict(), whole.state_dict())
    path = train.paths[0]
    wanted = whole.encode(path, projection=True)
    assert np.array_equal(trainer.model.encode(path, projection=True), wanted)


@pytest.mark.usefixtures("small_core")
def test_a_checkpoint_is_not_resumed_with_other_targets(train, tmp_path):
    options = {**EASY, "checkpoint_dir": tmp_path}
    fine_tune(new_model(), train, epochs=1, loss=Distill(teacher_rows(train)), **options)
    other = Distill(teacher_rows(train, seed=5))
    with pytest.raises(ValueError, match="made with loss="):
        fine_tune(new_model(), train, epochs=2, loss=other, resume=True, **options)


@pytest.mark.usefixtures("small_core")
def test_a_step_that_is_abandoned_leaves_map_and_network_alone(train):
    trainer = Trainer(new_model(), train, loss=Distill(teacher_rows(train)), **EASY)
    positions = np.arange(8)
    x = np.random.default_rng(1).normal(size=(8, 3, 96, 96)).astype("f4")
    trainer.step(x, train.labels[:8], positions)
    engine = trainer._run.engine
    before = {k: a.copy() for k, a in engine.learned().items()}

    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    apply, engine.core.apply = engine.core.apply, fail
    with pytest.raises(KeyboardInterrupt):
        trainer.step(x, train.labels[:8], positions)
    assert same(engine.learned(), before)
    engine.core.apply = apply
    trainer.step(x, train.labels[:8], positions)
    assert not same(engine.learned(), before)


@pytest.mark.usefixtures("small_core")
@pytest.mark.parametrize("late", [2, 9])  # while the map is fitted, in a step
def test_a_teacher_keeps_its_dimensions(train, late):
    calls = []

    def teacher(pixels):
        calls.append(1)
        return (
            np.ones((len(pixels), 3 if len(calls) < late else 2)) + pixels.mean((1, 2, 3))[:, None]
        )

    with pytest.raises(ValueError, match="targets of Distill have 2 dimensions, but had 3"):
        fine_tune(new_model(), train, epochs=2, loss=Distill(teacher), **EASY)
    with pytest.raises(TypeError, match=r"targets is the class Trainer; pass an instance"):
        Distill(Trainer)


@pytest.mark.usefixtures("small_core")
def test_a_callable_teacher_sees_the_students_view(train):
    seen = []

    def teacher(pixels):
        seen.append(pixels.copy())
        return pixels.mean(axis=(2, 3)) + 2

    model = new_model()
    fine_tune(model, train, epochs=1, loss=Distill(teacher), **(EASY | {"augment": "default"}))
    fit = sum(len(p) for p in seen[:6])
    assert fit == len(train)  # as they are, once, for the map
    assert len(seen) == 12
    assert all(p.shape[1:] == (3, 96, 96) and p.dtype == np.float32 for p in seen)
    assert model.encode(train.paths[0], projection=True).shape == (3,)
    for wrong, text in ((lambda p: p[:2, :, 0, 0] + 9, "2 embeddings for"), (np.mean, "shape")):
        with pytest.raises(ValueError, match=text):
            fine_tune(new_model(), train, epochs=1, loss=Distill(wrong), **EASY)


@pytest.mark.usefixtures("small_core")
def test_rows_of_nan_have_no_say(train):
    rows = teacher_rows(train)
    rows[::2] = np.nan
    model = new_model()
    fine_tune(model, train, epochs=2, loss=Distill(rows, 3.0), **EASY)
    known = ~np.isnan(rows[:, 0])
    mapped = unit(model.encode(train, projection=True)[known])
    assert (mapped * unit(rows[known])).sum(axis=1).mean() > 0.5
    rows[:] = np.nan
    with pytest.raises(ValueError, match="all rows are NaN"):
        fine_tune(new_model(), train, epochs=1, loss=Distill(rows), **EASY)


@pytest.mark.usefixtures("small_core")
def test_targets_must_fit_the_data(train):
    rows = teacher_rows(train)
    with pytest.raises(ValueError, match="have 47 rows for 48 images of train"):
        Trainer(new_model(), train, loss=Distill(rows[:-1]), **EASY)
    with pytest.raises(ValueError, match="mixup and cutmix"):
        Trainer(new_model(), train, loss=[Distill(rows)], mixup=0.2, **EASY)
    trainer = Trainer(new_model(), train, loss=Distill(rows), **EASY)
    with pytest.raises(ValueError, match="positions="):
        trainer.step(np.zeros((2, 3, 96, 96), "f4"), np.array([0, 1]))


@pytest.mark.usefixtures("small_core")
def test_a_loss_that_needs_the_batch_sees_it(train):
    seen = []

    class Own:
        needs_batch = True

        def __call__(self, features, batch):
            seen.append(batch)
            return 0.0, np.zeros_like(features)

    model = new_model()
    fine_tune(model, train, epochs=1, loss=[Own()], **EASY)
    assert np.array_equal(np.sort(np.concatenate([b.positions for b in seen])), np.arange(48))
    assert all(np.array_equal(train.labels[b.positions], b.labels) for b in seen)
    assert seen[0].pixels.shape == (8, 3, 96, 96)
    plain = new_model()
    fine_tune(plain, train, epochs=1, **EASY)
    assert same(plain.state_dict(), model.state_dict())


@pytest.mark.usefixtures("small_core")
def test_lr_find_takes_it(train):
    found = lr_find(new_model(), train, loss=Distill(teacher_rows(train)), steps=12, **EASY)
    assert found.suggestion > 0


# Without labels


@pytest.mark.usefixtures("small_core")
@pytest.mark.parametrize("form", ["map", "relation"])
def test_images_without_labels_are_enough(train, valid, form, caplog):
    data = ImageFolder.from_paths(train.root)
    assert data.paths == train.paths
    loss = Distill(teacher_rows(train), form=form)
    model = new_model(num_classes=3)
    history = fine_tune(model, data, valid, 3, loss=[loss, SupCon()], monitor="map_at_r", **EASY)
    assert model.num_classes == 0
    assert model.class_names is None
    assert "train_accuracy" not in history.epochs[0]
    assert "valid_accuracy" not in history.epochs[0]
    assert history.epochs[-1]["train_loss"] < history.epochs[0]["train_loss"]
    assert history.best["map_at_r"] > 0.3
    repr(history)


@pytest.mark.usefixtures("small_core")
def test_without_labels_some_loss_must_do_without(train, valid):
    data = ImageFolder.from_paths(train.paths)
    for loss in ("cross_entropy", SupCon()):
        with pytest.raises(ValueError, match="train has no labels"):
            Trainer(new_model(), data, loss=loss, **EASY)
    loss = Distill(teacher_rows(train))
    with pytest.raises(ValueError, match="'precision_at_1' or 'map_at_r'"):
        Trainer(new_model(), data, valid, loss=loss, **EASY)
    with pytest.raises(ValueError, match="class_weights needs classes"):
        Trainer(new_model(), data, loss=loss, class_weights="balanced", **EASY)


@pytest.mark.usefixtures("small_core")
@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("weights", [None, "balanced"])
def test_labels_for_a_part(train, valid, tmp_path, balanced, weights):
    labels = [name if i % 3 else None for i, name in enumerate(train.names)]
    data = ImageFolder.from_lists(train.paths, labels)
    options = {**EASY, "balanced": balanced, "class_weights": weights, "accumulate": 2}

    def losses():
        return [SupCon(), Distill(teacher_rows(train))]

    model = new_model()
    history = fine_tune(model, data, valid, 4, loss=losses(), **options)
    assert history.best["valid_accuracy"] > 0.8
    assert all(0 <= logs["train_accuracy"] <= 1 for logs in history.epochs)
    again = new_model()
    with pytest.raises(KeyboardInterrupt):
        fine_tune(
            again,
            data,
            valid,
            4,
            loss=losses(),
            checkpoint_dir=tmp_path,
            callbacks=Stop(4, interrupt),
            **options,
        )
    fine_tune(again, data, valid, 4, loss=losses(), checkpoint_dir=tmp_path, resume=True, **options)
    assert same(again.state_dict(), model.state_dict())


@pytest.mark.usefixtures("small_core")
def test_an_unlabelled_image_adds_nothing_to_the_cross_entropy(train):
    x = np.random.default_rng(1).normal(size=(6, 3, 96, 96)).astype("f4")
    y = train.labels[[0, 13, 25, 40, 41, 7]]
    options = {**EASY, "ema": None, "bn": "frozen"}
    part = Trainer(new_model(num_classes=4), train, **options)
    loss = part.step(x, np.where(np.arange(6) < 4, y, -1))
    whole = Trainer(new_model(num_classes=4), train, **options)
    assert loss == pytest.approx(whole.step(x[:4], y[:4]), rel=1e-5)
    for name, found in part.gradients().items():
        assert found == pytest.approx(whole.gradients()[name], abs=1e-6), name
