"""Create random weights for an untrained model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from birdembed import _core
from birdembed.base.checks import check_choice, check_integer
from birdembed.images.preprocess import Preprocess, check_preprocess
from birdembed.model.network import check_class_names, check_num_classes
from birdembed.pretrained.contents import Pretrained
from birdembed.weights.state_dict import FEATURES


def random_contents(
    architecture: str,
    num_classes: int,
    seed: int,
    preprocess: Preprocess | None,
    class_names: Sequence[str] | None = None,
) -> Pretrained:
    """Check the constructor arguments of a model, and return its contents."""
    check_choice("architecture", architecture, _core.architectures())
    num_classes = check_num_classes(num_classes)
    seed = check_integer("seed", seed, 0)
    preprocess = check_preprocess(Preprocess() if preprocess is None else preprocess)
    return Pretrained(
        architecture,
        random_state(architecture, num_classes, seed),
        preprocess,
        class_names=check_class_names(class_names, num_classes),
        source=f"random weights, seed {seed}",
    )


def random_state(architecture: str, num_classes: int, seed: int) -> dict[str, np.ndarray]:
    """Return random weights, distributed as torchvision initialises them.

    Convolutions: normal, variance 2 / (out channels x kernel area) (He et al. 2015, fan out).
    Batch norms: the identity. Head: `random_head`.
    """
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in _core.parameter_table(architecture, 0):
        if len(shape) == 4:
            scale = np.float32(math.sqrt(2.0 / (shape[0] * shape[2] * shape[3])))
            state[name] = rng.standard_normal(shape, np.float32) * scale
        else:
            one = name.endswith((".weight", ".running_var"))
            state[name] = np.full(shape, one, np.float32)
    if num_classes:
        state |= random_head(architecture, num_classes, seed)
    return state


def random_head(architecture: str, num_classes: int, seed: int) -> dict[str, np.ndarray]:
    """Return a random head, uniform within +-1 / sqrt(features) like torch's linear layers."""
    rng = np.random.default_rng([seed, 1])
    features = FEATURES[architecture]
    bound = 1 / math.sqrt(features)
    return {
        "fc.weight": rng.uniform(-bound, bound, (num_classes, features)).astype(np.float32),
        "fc.bias": rng.uniform(-bound, bound, num_classes).astype(np.float32),
    }
