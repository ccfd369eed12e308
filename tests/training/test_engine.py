"""Steps of the optimizer on the small stand-in: what they add up, and how they end."""

import json

import numpy as np
import pytest

from birdembed import BackendError, BirdembedError, ImageFolder, _core
from birdembed.training.distill import Distill
from birdembed.training.fine_tune import fine_tune
from birdembed.training.losses import SupCon
from birdembed.training.trainer import Trainer
from tests.support.small_training import EASY, new_model, same, weights
from tests.support.train_data import NAMES

pytestmark = pytest.mark.usefixtures("small_core")


def test_accumulation_is_one_step_of_the_mean(train):
    options = {**EASY, "batch_size": 4, "bn": "frozen_stats", "head_epochs": 0}
    options |= {"ema": None, "grad_clip": None, "epochs": 1, "label_smoothing": 0.0}
    ends = []
    for size, accumulate in ((8, 1), (4, 2)):
        trainer = Trainer(
            new_model(), train, **{**options, "batch_size": size, "accumulate": accumulate}
        )
        assert trainer.steps_per_epoch == 6
        trainer.fit()
        assert trainer.step_count == 6
        ends.append(weights(trainer.model))
    for name in ends[0]:
        np.testing.assert_allclose(ends[0][name], ends[1][name], atol=2e-5, err_msg=name)


def test_clipping_bounds_the_gradient_and_gradients_are_before_it(train):
    scales = []
    trainer = Trainer(new_model(), train, grad_clip=1e-3, **EASY)
    core = trainer._run.ready().core
    apply = core.apply
    core.apply = lambda *a, **k: (scales.append(k["grad_scale"]), apply(*a, **k))
    x = np.random.default_rng(0).standard_normal((4, 3, 96, 96)).astype(np.float32)
    trainer.step(x, np.arange(4))
    norm = np.sqrt(sum((g.astype(float) ** 2).sum() for g in trainer.gradients().values()))
    assert scales[0] == pytest.approx(1e-3 / norm)
    assert norm > 0.1
    assert not any("running" in name for name in trainer.gradients())


def test_a_step_by_hand_is_a_step_of_the_core(train):
    options = {**EASY, "optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}
    trainer = Trainer(
        new_model(),
        train,
        schedule="constant",
        head_lr=5e-3,
        grad_clip=None,
        label_smoothing=0.0,
        **options,
    )
    start = weights(trainer.model)
    x = np.random.default_rng(0).standard_normal((4, 3, 96, 96)).astype(np.float32)
    loss = trainer.step(x, np.arange(4))
    end, slope = weights(trainer.model), trainer.gradients()
    for name, gradient in slope.items():
        np.testing.assert_allclose(end[name], start[name] - 5e-3 * gradient, atol=1e-7)
    assert not np.array_equal(end["bn1.running_mean"], start["bn1.running_mean"])
    moved = {n: (start[n] - 2e-5 * slope[n] if n in slope else start[n]) for n in start}
    other = Trainer(_model_of(moved), train, schedule="constant", label_smoothing=0.0, **options)
    wanted = sum((g.astype(float) ** 2).sum() for g in slope.values())
    assert (loss - other.step(x, np.arange(4))) / 2e-5 == pytest.approx(wanted, rel=0.05)
    with pytest.raises(ValueError, match=r"y must be 0 to 3.*got 0 to 9"):
        trainer.step(x, np.array([0, 1, 2, 9]))
    with pytest.raises(ValueError, match="x must be float32"):
        trainer.step(x.astype(np.float64), np.arange(4))


@pytest.mark.parametrize(
    ("positions", "text"),
    [
        ([-1, 0, 1, 2], "positions must be 0 to 47, the images of train, got -1 to 2"),
        ([0, 1, 2, 48], "got 0 to 48"),
        ([0.0, 1.0, 2.0, 3.0], r"positions must be 4 integers, got float64 \(4,\)"),
        (range(5), r"positions must be 4 integers, got int64 \(5,\)"),
        (7, r"got int64 \(\)"),
        (["a", "b", "c", "d"], "positions must be 4 integers"),
    ],
)
def test_positions_are_those_of_images_of_train(train, positions, text):
    trainer = Trainer(new_model(), train, **EASY)
    x = np.random.default_rng(0).standard_normal((4, 3, 96, 96)).astype(np.float32)
    with pytest.raises(ValueError, match=text):
        trainer.step(x, np.arange(4), positions)
    assert trainer.step_count == 0
    assert trainer.step(x, np.arange(4), np.array([0, 0, 47, 5], np.uint8)) > 0


def _model_of(state):
    model = new_model(num_classes=4, class_names=NAMES)
    model.load_state_dict(state)
    return model


def test_own_losses_are_added_and_checked(train):
    x = np.random.default_rng(0).standard_normal((6, 3, 96, 96)).astype(np.float32)
    y = np.array([0, 0, 1, 1, 2, 2])
    plain = Trainer(new_model(), train, **EASY)
    joined = Trainer(new_model(), train, loss=SupCon(0.1, 0.2), **EASY)
    features = plain._run.ready().core.forward(x)
    extra, slope = SupCon(0.1, 0.2)(features, y)
    plain_loss = plain.step(x, y)
    assert joined.step(x, y) == pytest.approx(plain_loss + extra, rel=1e-6)
    assert not np.allclose(joined.gradients()["conv1.weight"], plain.gradients()["conv1.weight"])
    wrong = Trainer(new_model(), train, loss=lambda f, y: (1.0, slope[:1]), **EASY)
    with pytest.raises(ValueError, match="d_features of shape"):
        wrong.step(x, y)
    wrong = Trainer(new_model(), train, loss=lambda f, y: 1.0, **EASY)
    with pytest.raises(TypeError, match=r"the loss <function .*<lambda>> must return"):
        wrong.step(x, y)
    wrong_results = [
        ((1.0, slope * 1j), "d_features of dtype complex64, expected real numbers"),
        ((1.0, slope.astype(str)), "d_features of dtype <U"),
        ((1.0, [[1.0], [1.0, 2.0]]), "d_features that NumPy cannot read"),
        ((np.array([1.0]), slope), r"a value of shape \(1,\), expected a single number"),
        ((2j, slope), "a value of dtype complex128"),
        (("1.0", slope), "a value of dtype <U3"),
    ]
    for result, text in wrong_results:
        wrong = Trainer(new_model(), train, loss=lambda f, y, result=result: result, **EASY)
        with pytest.raises(TypeError, match=text):
            wrong.step(x, y)
    right = Trainer(new_model(), train, loss=lambda f, y: (np.array(extra, "f4"), slope), **EASY)
    assert right.step(x, y) == pytest.approx(plain_loss + extra, rel=1e-6)


def test_masked_values_are_not_trained_on(train):
    x = np.random.default_rng(0).standard_normal((4, 3, 96, 96)).astype(np.float32)
    numbers = np.ma.masked_array([0, 1, 2, 3], mask=[0, 0, 0, 1])
    trainer = Trainer(new_model(), train, **EASY)
    for name, given in (("y", (x, numbers)), ("positions", (x, np.arange(4), numbers))):
        with pytest.raises(ValueError, match=f"^{name} has masked values"):
            trainer.step(*given)
    with pytest.raises(ValueError, match=r"^x has masked values"):
        trainer.step(np.ma.masked_array(x, mask=x > 2), np.arange(4))

    def loss(features, labels):
        return 1.0, np.ma.masked_array(features, mask=features > 0)

    trainer = Trainer(new_model(), train, loss=loss, **EASY)
    with pytest.raises(ValueError, match="returned d_features, which has masked values"):
        trainer.step(x, np.arange(4))
    assert trainer.step_count == 0


def test_a_loss_that_works_in_place_changes_nothing_for_others(train):
    def spoil(features, labels):
        features[:], labels[:] = 0, 0
        return 0.0, np.zeros_like(features)

    class SpoilBatch:
        needs_batch = True

        def __call__(self, features, batch):
            for array in (features, batch.pixels, batch.labels, batch.targets, batch.positions):
                array[:] = 0
            return 0.0, np.zeros_like(features)

    class Total:
        needs_batch = True

        def __call__(self, features, batch):
            arrays = (features, batch.pixels, batch.labels, batch.targets, batch.positions)
            return float(sum((i + 1) * a.mean() for i, a in enumerate(arrays))), features * 0

    def teacher(pixels):
        rows = pixels.reshape(len(pixels), -1)[:, :8].copy()
        pixels[:] = 1
        return rows

    maps = [Distill(teacher), Distill(teacher)]
    readers, spoilers = [Total(), SupCon()], [spoil, SpoilBatch(), *maps]
    orders = [readers + spoilers, spoilers + readers]
    first, last = (fine_tune(new_model(), train, None, 1, loss=o, **EASY) for o in orders)
    assert first.best["train_loss"] == pytest.approx(last.best["train_loss"], rel=1e-6)
    assert first.best["train_accuracy"] == last.best["train_accuracy"]


def test_class_weights(train):
    x = np.random.default_rng(0).standard_normal((4, 3, 96, 96)).astype(np.float32)
    only = {"finch": 1, "jay": 0, "owl": 0, "wren": 0}
    options = {**EASY, "label_smoothing": 0.0, "bn": "frozen_stats"}
    weighted = Trainer(new_model(), train, class_weights=only, **options)
    alone = Trainer(new_model(), train, **options)
    assert weighted.step(x, np.arange(4)) == pytest.approx(alone.step(x[:1], np.arange(1)))
    with pytest.raises(ValueError, match="differ in class 'owl'"):
        Trainer(new_model(), train, class_weights={"finch": 1, "jay": 1, "wren": 2}, **EASY)
    with pytest.raises(ValueError, match="2 numbers for 4 classes"):
        Trainer(new_model(), train, class_weights=[1, 2], **EASY)
    with pytest.raises(ValueError, match="all 0"):
        Trainer(new_model(), train, class_weights=np.zeros(4), **EASY)


def test_a_step_before_fit_takes_nothing_from_its_epochs(train):
    x = np.random.default_rng(0).standard_normal((4, 3, 96, 96)).astype(np.float32)
    trainer = Trainer(new_model(), train, epochs=1, **EASY)
    for _ in range(2):
        trainer.step(x, np.arange(4))
    trainer.fit()
    assert trainer.step_count == 2 + trainer.steps_per_epoch


@pytest.mark.parametrize("native", [True, False])
def test_precision_is_what_the_machine_has(train, native, monkeypatch):
    found = _core.backend() | {"bfloat16": native, "isa": "AVX2"}
    monkeypatch.setattr(_core, "backend", lambda: found)
    best = "bfloat16" if native else "float32"
    trainer = Trainer(new_model(), train, precision="auto", **EASY)
    assert trainer.config.precision == best  # what checkpoints are held against
    trainer.fit()
    assert trainer.model._current.training["config"]["precision"] == best
    assert Trainer(new_model(), train, **EASY).config.precision == "float32"
    if not native:
        with pytest.raises(BackendError, match=r"AVX512_BF16 or AMX.*AVX2.*'auto'"):
            Trainer(new_model(), train, precision="bfloat16", **EASY)


def test_nan_stops_and_leaves_model_and_checkpoint(train, valid, tmp_path):
    model = new_model()
    before = weights(model)
    calls = []

    def loss(features, labels):
        calls.append(1)
        return (float("nan") if len(calls) == 9 else 0.0), np.zeros_like(features)

    options = {**EASY, "loss": loss, "checkpoint_dir": tmp_path, "eval_size": 128}
    with pytest.raises(BirdembedError, match=r"the loss <function .*loss> returned nan at step 9"):
        fine_tune(model, train, valid, 3, **options)
    assert same(weights(model), before)
    assert model.preprocess.size == 96
    assert json.loads((tmp_path / "last.json").read_text())["step"] == 6


def test_an_infinite_gradient_stops_too(train):
    def loss(features, labels):
        return 0.0, np.full_like(features, 3e38)

    with (
        np.errstate(all="ignore"),
        pytest.raises(BirdembedError, match=r"gradient is (inf|nan) at step 1"),
    ):
        fine_tune(new_model(), train, None, 1, loss=loss, **EASY)


def slope_of(value):
    """Return a loss with gradients of this value."""

    class Slope:
        def __call__(self, features, labels):
            return 0.0, np.full(features.shape, value)

        def __repr__(self):
            return "Slope()"

    return Slope()


@pytest.mark.parametrize("unlabelled", [False, True])
@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (slope_of(np.nan), r"the loss Slope\(\) returned d_features with NaN"),
        (
            slope_of(1e300),
            r"the loss Slope\(\) returned d_features with NaN, infinity or too large",
        ),
        (SupCon(weight=1e300), r"the loss SupCon\(temperature=0\.1, weight=1e\+300\) returned"),
        (SupCon(temperature=1e-300), r"the loss SupCon\(temperature=1e-300, .* d_features"),
        (Distill(np.eye(48), weight=1e300), r"the loss Distill\(<48 x 48, .* returned d_features"),
        (
            Distill(np.eye(48), weight=1e300, form="relation"),
            r"the loss Distill\(<48 x 48, .* returned d_features",
        ),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_loss_that_is_not_finite_for_finite_features_is_named(train, loss, text, unlabelled):
    if unlabelled:
        train = ImageFolder.from_lists(train.paths, [None, *train.names[1:]])
    with pytest.raises(BirdembedError, match=text + r".* at step 1, for features that are finite"):
        fine_tune(new_model(), train, None, 1, loss=[SupCon(), loss], **EASY)


@pytest.mark.parametrize("labelled", [False, True])
def test_a_training_that_diverges_is_not_the_fault_of_its_loss(train, labelled):
    class Squares:
        needs_batch = True

        def __call__(self, features, batch):
            return float(np.square(features).mean()), features

    if not labelled:
        train = ImageFolder.from_lists(train.paths, [None] * len(train))
    trainer = Trainer(new_model(), train, loss=Squares(), **EASY)
    core = trainer._run.ready().core
    core.set_parameters([np.full_like(array, np.nan) for array in core.parameters()])
    x = np.ones((4, 3, 96, 96), np.float32)
    with pytest.raises(BirdembedError, match="the loss is nan at step 1; a smaller lr"):
        trainer.step(x, np.full(4, 0 if labelled else -1))
