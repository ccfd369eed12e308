"""One training step by the core and by torch, side by side."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

import birdembed as be
from birdembed import _core
from tests.support import seeded
from tests.support.networks import vision

CLASSES = 8


class Step(NamedTuple):
    loss: float
    gradients: dict  # {name: array}, running statistics left out
    statistics: dict  # the running ones after the step


def is_statistic(name):
    return "running_" in name


def names(architecture):
    return [name for name, _ in _core.parameter_table(architecture, CLASSES)]


def targets(n):
    """Label-smoothed targets (n, CLASSES) float32."""
    rows = np.full((n, CLASSES), 0.1 / CLASSES, np.float32)
    rows[np.arange(n), np.arange(n) * 3 % CLASSES] += np.float32(0.9)
    return rows


def photographs(n, size):
    """Network input (n, 3, size, size): photographs, or blocks of colour where there are none."""
    root = os.environ.get("BIRDEMBED_DATA")
    images = seeded.pictures(n, size, size)
    if root:
        folders = sorted(Path(root, "train").iterdir())
        images = [sorted(folders[i % len(folders)].iterdir())[i // len(folders)] for i in range(n)]
    return be.preprocess(images, be.Preprocess(size=size))


# --- the core ----------------------------------------------------------------------------


def trainer(architecture, state, bn="train", trainable=None, precision="float32"):
    table = names(architecture)
    made = _core.Trainer(architecture, CLASSES, [state[name] for name in table])
    trainable = [True] * len(table) if trainable is None else trainable
    made.configure(bn, trainable, precision=precision)
    return made


def backward(core, x, y, **options):
    core.forward(x)
    loss, _ = core.head_loss(y)
    core.backward(**options)
    return loss


def results_of_a_step(core, x, y, threads):
    """Return loss, logits and all gradients of one forward and backward pass."""
    core.forward(x, threads)
    loss, logits = core.head_loss(y)
    core.backward()
    return [loss, logits, *core.gradients()]


def constant(core, value):
    """A number a parameter, float32."""
    return np.full(len(core.parameters()), value, np.float32)


def core_step(architecture, state, x, y, bn="train", precision="float32"):
    core = trainer(architecture, state, bn, precision=precision)
    loss = backward(core, x, y)
    gradients = dict(zip(names(architecture), core.gradients(), strict=True))
    core.apply("sgd", constant(core, 0), constant(core, 0))
    after = dict(zip(names(architecture), core.parameters(), strict=True))
    return _parted(loss, gradients, after)


def _parted(loss, gradients, after):
    return Step(
        loss,
        {name: array for name, array in gradients.items() if not is_statistic(name)},
        {name: array for name, array in after.items() if is_statistic(name)},
    )


# --- torch -------------------------------------------------------------------------------


def torch_network(architecture, state, double=False, channels_last=False, bn="train"):
    torch, _, timm, _ = vision()
    network = timm.create_model(architecture, num_classes=CLASSES)
    network.load_state_dict({n: torch.from_numpy(a) for n, a in state.items()}, strict=False)
    network.train()
    if bn != "train":
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
    if channels_last:
        network.to(memory_format=torch.channels_last)
    return network.double() if double else network


def torch_backward(network, x, y, bfloat16=False):
    torch = vision()[0]
    weight = next(network.parameters())
    x = torch.from_numpy(x).to(weight.dtype)
    if not weight.is_contiguous():
        x = x.to(memory_format=torch.channels_last)
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        loss = torch.nn.functional.cross_entropy(network(x), torch.from_numpy(y).to(weight.dtype))
    loss.backward()
    return loss.item()


def torch_step(architecture, state, x, y, bfloat16=False, **options):
    network = torch_network(architecture, state, **options)
    loss = torch_backward(network, x, y, bfloat16)
    gradients = {name: p.grad.numpy() for name, p in network.named_parameters()}
    after = {n: b.numpy() for n, b in network.named_buffers() if is_statistic(n)}
    return Step(loss, gradients, after)


def layouts(architecture, state, x, y, **options):
    """Torch's float32, or autocast, in its two memory layouts."""
    return [
        torch_step(architecture, state, x, y, channels_last=last, **options)
        for last in (False, True)
    ]


def torch_losses(network, batches, y, lr, weight_decay, bfloat16=False):
    """The losses of one AdamW step a batch."""
    torch = vision()[0]
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=weight_decay)
    losses = []
    for x in batches:
        losses.append(torch_backward(network, x, y, bfloat16))
        optimizer.step()
    return np.array(losses)


def core_losses(architecture, state, batches, y, lr, weight_decay, precision="float32"):
    core = trainer(architecture, state, precision=precision)
    losses = []
    for x in batches:
        losses.append(backward(core, x, y))
        core.apply("adamw", constant(core, lr), constant(core, weight_decay))
    return np.array(losses)


def mirrored(x, steps):
    """Batches for some steps: the same pictures, turned over and shifted."""
    return [np.ascontiguousarray(np.roll(x[..., :: 1 - 2 * (i % 2)], i, -1)) for i in range(steps)]


# --- distances ---------------------------------------------------------------------------


def distance(found, expected):
    expected = np.asarray(expected, np.float64)
    return np.linalg.norm(found.astype(np.float64) - expected) / np.linalg.norm(expected)


def distances(found, expected):
    """Relative L2 of every tensor, in the order of the names."""
    assert found.keys() == expected.keys()
    return np.array([distance(found[name], expected[name]) for name in expected])
