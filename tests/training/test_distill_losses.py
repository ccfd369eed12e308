"""The losses of `Distill`, their gradients, and the map that one of them learns."""

import numpy as np
import pytest

from birdembed.training.cosine_loss import cosine_loss
from birdembed.training.learned_map import MapState, Rules, mapped_loss, optimized
from birdembed.training.ridge import fit_ridge
from birdembed.training.similarity_loss import relation_loss
from tests.support.small_training import unit


def numeric(f, at, eps=1e-6):
    slope = np.zeros_like(at)
    for i in np.ndindex(at.shape):
        up, down = at.copy(), at.copy()
        up[i] += eps
        down[i] -= eps
        slope[i] = (f(up) - f(down)) / (2 * eps)
    return slope


@pytest.fixture
def numbers():
    rng = np.random.default_rng(0)
    targets = unit(rng.normal(size=(7, 4)))
    targets[2] = np.nan
    return rng.normal(size=(7, 9)), rng.normal(size=(9, 4)), targets


def test_gradients_are_those_of_finite_differences(numbers):
    x, matrix, targets = numbers
    _, d_x, d_matrix = mapped_loss(x, matrix, targets)
    assert d_x == pytest.approx(numeric(lambda a: mapped_loss(a, matrix, targets)[0], x), abs=1e-8)
    by_hand = numeric(lambda a: mapped_loss(x, a, targets)[0], matrix)
    assert d_matrix == pytest.approx(by_hand, abs=1e-8)
    assert not d_x[2].any()
    vectors = x[:, :4]
    _, d_x = cosine_loss(vectors, targets, 2.0)
    by_hand = numeric(lambda a: cosine_loss(a, targets, 2.0)[0], vectors)
    assert d_x == pytest.approx(by_hand, abs=1e-8)
    assert not d_x[2].any()
    for temperature in (0.1, 0.5):
        _, d_x = relation_loss(x, targets, temperature)
        by_hand = numeric(lambda a, t=temperature: relation_loss(a, targets, t)[0], x)
        assert d_x == pytest.approx(by_hand, abs=1e-6)
        assert not d_x[2].any()


def test_losses_and_gradients_are_torchs(numbers):
    torch = pytest.importorskip("torch")
    x, matrix, targets = (torch.tensor(a) for a in numbers)
    x.requires_grad_()
    matrix.requires_grad_()
    known = ~targets[:, 0].isnan()
    loss = (1 - torch.cosine_similarity((x @ matrix)[known], targets[known])).mean()
    loss.backward()
    ours = mapped_loss(*numbers)
    assert ours[0] == pytest.approx(float(loss.detach()))
    assert ours[1] == pytest.approx(x.grad.numpy(), abs=1e-12)
    assert ours[2] == pytest.approx(matrix.grad.numpy(), abs=1e-12)
    x.grad = None
    z, t = torch.nn.functional.normalize(x[known]), targets[known]
    others = ~torch.eye(len(t), dtype=torch.bool)
    found = ((z @ z.T) / 0.2)[others].reshape(len(t), -1).log_softmax(1)
    wanted = ((t @ t.T) / 0.2)[others].reshape(len(t), -1).log_softmax(1)
    loss = torch.nn.functional.kl_div(found, wanted, log_target=True, reduction="batchmean")
    loss.backward()
    ours = relation_loss(numbers[0], numbers[2], 0.2)
    assert ours[0] == pytest.approx(float(loss.detach()))
    assert ours[1] == pytest.approx(x.grad.numpy(), abs=1e-12)


def test_edges_of_the_losses(numbers):
    x, matrix, targets = numbers
    nothing = np.full_like(targets, np.nan)
    assert mapped_loss(x, matrix, nothing)[0] == 0 == relation_loss(x, nothing, 0.1)[0]
    assert relation_loss(x[:3], targets[:3], 0.1)[0] == 0  # two that count: each has one other
    zero = x.copy()
    zero[0] = 0
    for slope in (mapped_loss(zero, matrix, targets)[1], relation_loss(zero, targets, 0.1)[1]):
        assert np.isfinite(slope).all()
        assert not slope[0].any()
    lost = np.full_like(x, np.nan)  # what the core gives for weights that are not finite
    assert np.isnan(mapped_loss(lost, matrix, targets)[0])
    assert np.isnan(cosine_loss(lost[:, :4], targets)[0])
    assert np.isnan(relation_loss(lost, targets, 0.1)[0])
    known = unit(x[:5])
    assert relation_loss(3 * known, known, 0.1)[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", ["sgd", "nesterov", "adamw"])
def test_the_map_moves_as_torchs_optimizers_move_it(kind):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = rng.normal(size=(5, 3)).astype("f4")
    weight = torch.tensor(start, requires_grad=True)
    options = {"lr": 0.01, "weight_decay": 0.1}
    if kind == "adamw":
        torchs = torch.optim.AdamW([weight], **options)
    else:
        torchs = torch.optim.SGD([weight], momentum=0.9, nesterov=kind == "nesterov", **options)
    rules = Rules(
        kind=kind.replace("nesterov", "sgd"),
        lr=0.01,
        weight_decay=0.1,
        momentum=0.9,
        nesterov=kind == "nesterov",
        grad_scale=1.0,
        ema_decay=0.0,
    )
    state = MapState(start)
    for step in range(1, 6):
        gradient = rng.normal(size=(5, 3)).astype("f4")
        weight.grad = torch.tensor(gradient)
        torchs.step()
        state = optimized(state, gradient, step, rules)
    assert state.matrix == pytest.approx(weight.detach().numpy(), abs=1e-6)


def test_ridge_finds_the_map_that_is_there_and_shrinks_noise():
    rng = np.random.default_rng(0)
    x, true = rng.normal(size=(400, 20)).astype("f4"), rng.normal(size=(20, 5))
    clear = unit(x @ true).astype("f4")
    found = fit_ridge(x, clear)
    assert found.cosine > 0.99
    assert (unit(x @ found.matrix) * clear).sum(axis=1).mean() > 0.99
    noisy = unit(x @ true + 10 * rng.normal(size=(400, 5))).astype("f4")
    assert fit_ridge(x[:30], noisy[:30]).penalty > found.penalty
    assert fit_ridge(x[:6], clear[:6]).cosine is None


@pytest.mark.parametrize("n", [15, 60])
def test_ridge_is_the_closed_form_with_few_and_many_images(n):
    rng = np.random.default_rng(0)
    x, targets = rng.normal(size=(n, 20)), unit(rng.normal(size=(n, 5)))
    found = fit_ridge(x, targets)
    penalty = found.penalty * np.trace(x.T @ x) / 20
    wanted = np.linalg.solve(x.T @ x + penalty * np.eye(20), x.T @ targets)
    assert found.matrix == pytest.approx(wanted, abs=1e-5)
