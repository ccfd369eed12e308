"""What a training starts from: unfolded batch norm, a learning rate."""

from pathlib import Path

import numpy as np
import pytest

from birdembed import (
    Callback,
    Model,
    Preprocess,
    Trainer,
    _core,
    lr_find,
    recalibrate_batch_norm,
)
from birdembed.training.batch_norm import conv_statistics, is_folded, unfold
from birdembed.training.lr_find import _has_diverged, suggest
from birdembed.training.param_groups import batch_norms
from tests.support import fake_core_trainer as fake
from tests.support import tolerances
from tests.support.train_data import make_folder

EASY = {"image_size": 96, "batch_size": 8, "lr": 5e-3, "augment": None}


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("start") / "train")


def fold(state, table, rng):
    """Make every batch norm the identity with a bias, as a folded model has it."""
    for norm in batch_norms(table):
        size = state[f"{norm}.bias"].shape
        state[f"{norm}.bias"] = rng.normal(0, 0.3, size).astype(np.float32)
        state[f"{norm}.weight"] = np.ones(size, np.float32)
        state[f"{norm}.running_mean"] = np.zeros(size, np.float32)
        state[f"{norm}.running_var"] = np.full(size, 1 - 1e-5, np.float32)
    return state


def test_a_folded_model_is_told_by_its_values():
    table = _core.parameter_table("resnet50", 0)
    norms = batch_norms(table)
    assert len(norms) == 53
    state = {name: np.zeros(shape, np.float32) for name, shape in table}
    state = fold(state, table, np.random.default_rng(0))
    assert is_folded(state, table)
    assert is_folded({n: a.astype(np.float16).astype(np.float32) for n, a in state.items()}, table)
    for leaf, value in (("weight", 0.5), ("running_mean", 0.1), ("running_var", 2.0)):
        assert not is_folded(
            {**state, f"{norms[7]}.{leaf}": np.full_like(state[f"{norms[7]}.{leaf}"], value)}, table
        )
    fresh = {n: (np.zeros_like(a) if n.endswith(".bias") else a) for n, a in state.items()}
    assert not is_folded(fresh, table)


@pytest.mark.parametrize("architecture", ["resnet50", "resnet50d", "resnet34"])
def test_unfolding_leaves_the_network_as_it_is(architecture):
    rng = np.random.default_rng(1)
    table = _core.parameter_table(architecture, 0)
    state = fold(Model(architecture).state_dict(), table, rng)
    network = _core.Network(architecture, 0, [state[n] for n, _ in table])
    x = rng.standard_normal((5, 3, 96, 96)).astype(np.float32)
    unfolded = unfold(state, table, conv_statistics(network, [x[:2], x[2:]], table, 0))
    assert not is_folded(unfolded, table)
    after = _core.Network(architecture, 0, [unfolded[n] for n, _ in table])
    y = rng.standard_normal((3, 3, 128, 128)).astype(np.float32)
    a, b = network.features(y).astype(float), after.features(y).astype(float)
    assert np.linalg.norm(a - b) / np.linalg.norm(a) < tolerances.UNFOLDED_REL_L2
    first = batch_norms(table)[0]
    kernel = next(n for n, shape in table if len(shape) == 4)
    assert np.allclose(
        unfolded[f"{first}.running_mean"], _first_mean(x, state[kernel]), rtol=1e-4, atol=1e-5
    )


def _first_mean(x, kernel):
    """Mean of a stride-2 convolution's output, padded to keep the size, directly."""
    k = kernel.shape[2]
    side = x.shape[2] // 2
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    sums = np.array(
        [
            [padded[:, :, i : i + 2 * side : 2, j : j + 2 * side : 2].mean(axis=(0, 2, 3))]
            for i in range(k)
            for j in range(k)
        ]
    ).reshape(k, k, 3)
    return np.einsum("ocij,ijc->o", kernel.astype(np.float64), sums)


def test_training_unfolds_by_itself_and_says_so(small_core, train, caplog):
    caplog.set_level("INFO", "birdembed")
    table = _core.parameter_table("resnet50", 0)
    model = Model("resnet50", preprocess=Preprocess(size=96))
    model.load_state_dict(fold(model.state_dict(), table, np.random.default_rng(0)))
    before = model.encode(train.paths[:5])
    trainer = Trainer(model, train, **EASY)
    after = trainer.model.encode(train.paths[:5])
    assert "is folded" in caplog.text
    assert not is_folded(model.state_dict(), table)
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
    caplog.clear()
    Trainer(model, train, **EASY)._run.ready()
    assert "folded" not in caplog.text


def test_recalibration_sets_the_statistics_of_the_data(small_core, train):
    model = Model("resnet50", preprocess=Preprocess(size=96))
    before = model.state_dict()
    recalibrate_batch_norm(model, train, batch_size=12)
    after = model.state_dict()
    assert np.array_equal(before["layer1.0.conv1.weight"], after["layer1.0.conv1.weight"])
    assert np.array_equal(before["bn1.weight"], after["bn1.weight"])
    x = np.concatenate([b.pixels for b in _batches(train, model.preprocess)])
    y = fake.convolve(fake.grid(x), before["conv1.weight"])
    np.testing.assert_allclose(after["bn1.running_mean"], y.mean(axis=(0, 2)), rtol=1e-3, atol=1e-4)


def test_recalibration_takes_a_folder(small_core, train, tmp_path):
    (tmp_path / "empty").mkdir()
    means = []
    for data in (train, train.root, Path(train.root)):
        model = Model("resnet50", preprocess=Preprocess(size=96))
        recalibrate_batch_norm(model, data)
        means.append(model.state_dict()["bn1.running_mean"])
    assert np.array_equal(means[0], means[1])
    assert np.array_equal(means[0], means[2])
    with pytest.raises(FileNotFoundError, match="no such folder: a/folder"):
        recalibrate_batch_norm(model, "a/folder")
    with pytest.raises(NotADirectoryError, match="expected a folder, got a file"):
        recalibrate_batch_norm(model, train.paths[0])
    with pytest.raises(ValueError, match="no images in this folder"):
        recalibrate_batch_norm(model, tmp_path / "empty")
    with pytest.raises(TypeError, match="a folder, an ImageFolder or a list of images"):
        recalibrate_batch_norm(model, np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_images": -1}, ValueError, "max_images must be at least 1, got -1"),
        ({"max_images": 0}, ValueError, "max_images must be at least 1, got 0"),
        ({"max_images": "2"}, TypeError, "max_images must be an int, got '2'"),
        ({"max_images": True}, TypeError, "max_images must be an int, got True"),
        ({"image_size": 0}, ValueError, "image_size must be at least 1, got 0"),
        ({"image_size": "96"}, TypeError, "image_size must be an int, got '96'"),
        ({"on_error": "nan"}, ValueError, "on_error must be one of 'raise', 'skip', got 'nan'"),
    ],
)
def test_wrong_options_of_recalibration(train, options, error, message):
    model = Model("resnet18", preprocess=Preprocess(size=96))
    before = model.fingerprint
    with pytest.raises(error, match=f"^{message}$"):
        recalibrate_batch_norm(model, train, **options)
    assert model.fingerprint == before


def _batches(data, preprocess):
    from birdembed.images import batches

    return batches.batches(data, preprocess, 64)


def test_a_rate_is_found_and_the_weights_stay(small_core, train):
    model = Model("resnet50", preprocess=Preprocess(size=96))
    before = model._current
    found = lr_find(model, train, steps=30, **{k: v for k, v in EASY.items() if k != "lr"})
    assert model._current is before
    assert 10 <= len(found.lrs) <= 30
    assert np.all(np.diff(found.lrs) > 0)
    assert found.lrs[0] < found.suggestion < found.lrs[-1]
    with pytest.raises(ValueError, match="start_lr"):
        lr_find(model, train, start_lr=1.0, end_lr=0.1)
    with pytest.raises(ValueError, match="steps"):
        lr_find(model, train, steps=3)
    pytest.importorskip("matplotlib")
    assert found.plot().axes


def test_a_rate_is_found_with_the_options_of_the_training(small_core, train, tmp_path):
    model = Model("resnet50", preprocess=Preprocess(size=96))
    options = {
        **EASY,
        "patience": 3,
        "monitor": "map_at_r",
        "schedule": "cosine",
        "ema": 0.9,
        "checkpoint_dir": tmp_path / "run",
        "checkpoint_every": 1,
    }
    found = lr_find(model, train, steps=np.int64(10), start_lr=np.float32(1e-6), **options)
    assert len(found.lrs) <= 10
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"lr": 0.0}, ValueError, "lr must be above 0"),
        ({"start_lr": "a"}, TypeError, "start_lr must be a number, got 'a'"),
        ({"start_lr": 0}, ValueError, "start_lr must be above 0"),
        ({"end_lr": float("inf")}, ValueError, "end_lr must be finite"),
        ({"end_lr": 1e39}, ValueError, r"end_lr must be finite, at least 0 and at most 1e\+37"),
        ({"steps": 10.0}, TypeError, "steps must be an int"),
        ({"steps": 9}, ValueError, "steps must be at least 10"),
    ],
)
def test_what_lr_find_refuses(small_core, train, options, error, words):
    model = Model("resnet50", preprocess=Preprocess(size=96))
    with pytest.raises(error, match=words):
        lr_find(model, train, **{**EASY, **options})


def test_no_rate_is_found_for_a_loss_that_is_never_finite(small_core, train):
    def loss(features, labels):
        return float("nan"), np.zeros_like(features)

    model = Model("resnet50", preprocess=Preprocess(size=96))
    with pytest.raises(ValueError, match=r"the loss <function .*> returned nan at step 1"):
        lr_find(model, train, loss=loss, **EASY)


@pytest.mark.parametrize("shift", [-10.0, -2.0])
def test_a_rate_is_found_for_a_loss_below_zero(small_core, train, shift):
    def loss(features, labels):
        return shift, np.zeros_like(features)

    options = {k: v for k, v in EASY.items() if k != "lr"}
    model = Model("resnet50", preprocess=Preprocess(size=96))
    plain = lr_find(model, train, steps=30, **options)
    found = lr_find(model, train, steps=30, loss=loss, **options)
    both = min(len(plain.losses), len(found.losses))
    assert both > 10
    assert found.losses[:both] == pytest.approx([x + shift for x in plain.losses[:both]])


@pytest.mark.parametrize(
    ("losses", "gone"),
    [
        ([1.0, 0.5, 1.99], False),
        ([1.0, 0.5, 2.01], True),
        ([-1.0, -1.2, 2.3], False),
        ([-1.0, -1.2, 2.5], True),
        ([0.0, 0.0, 0.1], False),
        ([0.4, 0.0, 1.1], False),
        ([0.4, 0.0, 1.3], True),
    ],
)
def test_when_a_loss_has_diverged(losses, gone):
    assert _has_diverged(losses) == gone
    assert not _has_diverged(losses[:1])


def test_the_suggestion_lies_on_the_way_down():
    lrs = [10.0**k for k in range(-6, 1)]
    assert suggest(lrs, [2.0, 2.01, 1.8, 1.2, 0.9, 0.8, 5.0]) == pytest.approx(1e-3)
    assert suggest(lrs, [1.0] * 7) in lrs


def test_a_callback_sees_the_model_as_it_was_given(small_core, train, caplog):
    caplog.set_level("INFO", "birdembed")
    model, seen = Model("resnet50", preprocess=Preprocess(size=96)), []
    before, source = model.fingerprint, model._current.source

    class Look(Callback):
        def on_train_begin(self, trainer):
            trainer.say("here we go")
            seen.append((trainer.source, trainer.given_model is model, model.fingerprint))

    Trainer(model, train, epochs=1, callbacks=Look(), **EASY).fit()
    assert seen == [(source, True, before)]
    assert "here we go" in caplog.text
