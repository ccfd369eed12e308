"""Peers for the tests of weights files: the parameter table in Python, torch's and timm's networks.

The table here is written down a second time on purpose: it is what the core's is held against.
"""

from __future__ import annotations

import functools
import importlib
import sys

import numpy as np
import pytest

#: Whether the blocks are bottlenecks, and how many a stage has; by depth.
DEPTHS = {
    "18": (False, (2, 2, 2, 2)),
    "34": (False, (3, 4, 6, 3)),
    "50": (True, (3, 4, 6, 3)),
    "101": (True, (3, 4, 23, 3)),
    "152": (True, (3, 8, 36, 3)),
}
ARCHITECTURES = [f"resnet{depth}{variant}" for depth in DEPTHS for variant in ("", "d")]


def is_deep(architecture):
    """Whether it is of variant D."""
    return architecture.endswith("d")


def bottlenecks_and_blocks(architecture):
    return DEPTHS[architecture.removeprefix("resnet").removesuffix("d")]


def last_norm(architecture):
    """The batch norm before a block's sum."""
    return "bn3" if bottlenecks_and_blocks(architecture)[0] else "bn2"


def features(architecture):
    """The length of a pooled feature map."""
    return 2048 if bottlenecks_and_blocks(architecture)[0] else 512


def _batch_norm(name, channels):
    leaves = ("weight", "bias", "running_mean", "running_var")
    return [(f"{name}.{leaf}", (channels,)) for leaf in leaves]


def parameter_table(architecture, num_classes):
    """[(name, shape)] of a network, as torch's state_dict orders it."""
    deep, (bottlenecks, stages) = is_deep(architecture), bottlenecks_and_blocks(architecture)
    table = []
    if deep:
        for index, shape in ((0, (32, 3, 3, 3)), (3, (32, 32, 3, 3))):
            table.append((f"conv1.{index}.weight", shape))
            table += _batch_norm(f"conv1.{index + 1}", 32)
        table.append(("conv1.6.weight", (64, 32, 3, 3)))
    else:
        table.append(("conv1.weight", (64, 3, 7, 7)))
    table += _batch_norm("bn1", 64)
    width_in = 64
    for stage, blocks in enumerate(stages):
        width = 64 << stage
        width_out = 4 * width if bottlenecks else width
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            shapes = [(width, width_in, 3, 3), (width, width, 3, 3)]
            if bottlenecks:
                shapes = [(width, width_in, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            for i, shape in enumerate(shapes, 1):
                table.append((f"{name}.conv{i}.weight", shape))
                table += _batch_norm(f"{name}.bn{i}", shape[0])
            if block == 0 and (stage or width_in != width_out):
                conv, norm = (1, 2) if deep else (0, 1)
                table.append((f"{name}.downsample.{conv}.weight", (width_out, width_in, 1, 1)))
                table += _batch_norm(f"{name}.downsample.{norm}", width_out)
            width_in = width_out
    if num_classes:
        table += [("fc.weight", (num_classes, width_in)), ("fc.bias", (num_classes,))]
    return table


@functools.cache
def vision():
    """Import and return (torch, torchvision, timm); skip the test where one is missing.

    A torchvision built for another torch stops at operators it cannot load. Declared first, they
    let it import; declared for one that does load them, they would end the process.
    """
    torch = pytest.importorskip("torch")
    library = None
    try:
        torchvision = importlib.import_module("torchvision")
    except ImportError as error:
        pytest.skip(str(error))
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor a, Tensor b, float c) -> Tensor")
        torchvision = importlib.import_module("torchvision")
    timm = pytest.importorskip("timm")
    return torch, torchvision, timm, library  # the library's definitions live as long as it


def random_network(architecture, num_classes=0, seed=0):
    """A timm network with random weights and running statistics, in eval mode."""
    torch, _, timm, _ = vision()
    torch.manual_seed(seed)
    network = timm.create_model(architecture, num_classes=num_classes)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith(("running_mean", ".bias")):
                tensor.normal_(0, 0.1)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif f"{last_norm(architecture)}.weight" in name:  # timm starts them at zero
                tensor.uniform_(0.2, 0.5)
    return network.eval()


def numpy_state(network):
    """state_dict of a torch module as NumPy arrays."""
    return {name: t.detach().numpy() for name, t in network.state_dict().items()}


def network_input():
    """Two images of 64 px, as `preprocess` returns them."""
    return np.random.default_rng(0).standard_normal((2, 3, 64, 64), dtype=np.float32)


def embed(network, x):
    """Average-pooled features of a float32 NCHW batch, through a torch network."""
    torch = vision()[0]
    with torch.no_grad():
        features = (
            network.forward_features(torch.from_numpy(x))
            if hasattr(network, "forward_features")
            else _torchvision_features(network, torch.from_numpy(x))
        )
    return features.mean((2, 3)).numpy()


def _torchvision_features(network, x):
    x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
        x = layer(x)
    return x
