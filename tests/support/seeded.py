"""Weights and inputs that any NumPy makes alike from a seed: the golden files need no weights.

Bit generators keep their stream for ever, the distributions built on them do not; so the
numbers are made of raw bits.
"""

from __future__ import annotations

import functools

import numpy as np

from tests.support.networks import last_norm, parameter_table


def uniform(seed, shape, low=0.0, high=1.0):
    """float32 between low and high, 24 random bits each."""
    count = int(np.prod(shape))
    raw = np.random.PCG64(seed).random_raw(count) >> np.uint64(40)
    unit = raw.astype(np.float64) / 2**24
    return (low + (high - low) * unit).astype(np.float32).reshape(shape)


def state(architecture, num_classes=0, seed=0):
    """Weights with every batch norm doing something, {name: float32}; the caller's own."""
    made = {name: array.copy() for name, array in _trunk(architecture, seed).items()}
    return made | _made(architecture, num_classes, seed, len(made))


@functools.lru_cache(maxsize=3)
def _trunk(architecture, seed):
    return _made(architecture, 0, seed, 0)


def _made(architecture, num_classes, seed, first):
    """The parameters from the first-th on."""
    made = {}
    for index, (name, shape) in enumerate(parameter_table(architecture, num_classes)):
        if index < first:
            continue
        key = [seed, index]
        if len(shape) == 4:  # He et al. 2015: variance 2 / inputs
            bound = np.sqrt(3 * 2 / np.prod(shape[1:]))
            made[name] = uniform(key, shape, -bound, bound)
        elif name == "fc.weight":
            made[name] = uniform(key, shape, -0.05, 0.05)
        elif name.endswith("running_var"):
            made[name] = uniform(key, shape, 0.5, 1.5)
        elif name.endswith(("bias", "running_mean")):
            made[name] = uniform(key, shape, -0.3, 0.3)
        elif last_norm(architecture) in name:  # or sixteen blocks add up to enormous numbers
            made[name] = uniform(key, shape, 0.2, 0.6)
        else:
            made[name] = uniform(key, shape, 0.5, 1.5)
    return made


def tensor(seed, n, height, width):
    """Network input (n, 3, height, width)."""
    return uniform([seed, 77], (n, 3, height, width), -2, 2)


def pictures(n, height=64, width=64, seed=0):
    """n pictures (height, width, 3) uint8: random colours in coarse blocks, with some noise."""
    blocks = uniform([seed, 88], (n, 8, 8, 3), 0, 235)
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
    noise = uniform([seed, 89], (n, height, width, 3), 0, 20)
    return list((blocks[:, rows][:, :, columns] + noise).astype(np.uint8))
