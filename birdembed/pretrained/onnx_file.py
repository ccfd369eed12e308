"""Write a model to an ONNX file. Extra: ``onnx``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from birdembed._version import __version__
from birdembed.base.files import replacing
from birdembed.base.optional import need
from birdembed.pretrained.contents import Pretrained
from birdembed.weights.projection import GEM_EPS, GEM_P
from birdembed.weights.state_dict import FEATURES

OPSET = 17
_IR_VERSION = 8  # supported by runtimes with opset 17
_BN_EPS = 1e-5
_LEAST_NORM = 1e-12  # keeps a zero vector zero


def write_onnx(
    path: str | os.PathLike[str], given: Pretrained, head: bool, normalize: bool
) -> None:
    """Write a model to an ONNX file; see `Model.export_onnx`."""
    onnx = need("onnx", "onnx", "export_onnx")
    if os.path.isdir(path):
        raise IsADirectoryError(f"cannot write an ONNX file to {os.fspath(path)}: it is a folder")
    side = given.preprocess.size
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    projection = given.projection if given.project_by_default else None
    pooling = given.pooling if projection is None else projection.pooling
    graph = _Graph(onnx)
    averages, pooled = _pooled(graph, given, pooling)
    vectors, dim = pooled, FEATURES[given.architecture]
    if projection is not None:
        centred = graph.node("Sub", [vectors, graph.constant("projection.mean", projection.mean)])
        matrix = graph.constant("projection.matrix", projection.matrix)
        vectors, dim = graph.node("MatMul", [centred, matrix]), projection.dim
    if normalize:
        norm = graph.node("ReduceL2", [vectors], axes=[1], keepdims=1)
        least = graph.constant("least_norm", np.float32(_LEAST_NORM))
        vectors = graph.node("Div", [vectors, graph.node("Max", [norm, least])])
    graph.node("Identity", [vectors], output="embeddings")
    outputs = [helper.make_tensor_value_info("embeddings", float32, ["batch", dim])]
    if head:
        weights = [graph.constant(name, given.state[name]) for name in ("fc.weight", "fc.bias")]
        graph.node("Gemm", [averages, *weights], output="logits", transB=1)
        shape = ["batch", given.num_classes]
        outputs.append(helper.make_tensor_value_info("logits", float32, shape))
    pixels = helper.make_tensor_value_info("pixels", float32, ["batch", 3, side, side])
    made = helper.make_graph(graph.nodes, "birdembed", [pixels], outputs, graph.constants)
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="birdembed",
        producer_version=__version__,
    )
    model.ir_version = _IR_VERSION
    helper.set_model_props(model, _metadata(given, head, normalize))
    onnx.checker.check_model(model)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))


def _metadata(given: Pretrained, head: bool, normalize: bool) -> dict[str, str]:
    """Return the metadata for users of the file, such as the preprocessing."""
    values: dict[str, Any] = {
        "preprocess": {**asdict(given.preprocess), "layout": "NCHW", "channels": "RGB"},
        "architecture": given.architecture,
        "fingerprint": given.fingerprint,
        "normalized": normalize,
    }
    if head:
        values["class_names"] = given.class_names
    return {f"birdembed.{name}": _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class _Graph:
    """The nodes and constants of a graph."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._names: set[str] = set()

    def constant(self, name: str, value: Any) -> str:
        """Add a constant (once) and return its name."""
        if name not in self._names:
            self._names.add(name)
            array = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
            self.constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, inputs: list[str], output: str | None = None, **options: Any) -> str:
        """Add a node and return the name of its output."""
        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(kind, inputs, [output], **options))
        return output


class _Network:
    """The layers of a ResNet, with batch norms folded into the convolutions."""

    def __init__(self, graph: _Graph, state: Mapping[str, np.ndarray]) -> None:
        self._graph, self._state = graph, state

    def _conv(self, x: str, conv: str, norm: str, stride: int = 1, relu: bool = True) -> str:
        """Add a convolution with its batch norm and a ReLU."""
        kernel = self._state[f"{conv}.weight"].astype(np.float64)
        scale, shift, mean, var = (
            self._state[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = scale / np.sqrt(var + _BN_EPS)
        weight = (kernel * factor[:, None, None, None]).astype(np.float32)
        bias = (shift - mean * factor).astype(np.float32)
        side = kernel.shape[2]
        names = [
            self._graph.constant(f"{conv}.weight", weight),
            self._graph.constant(f"{conv}.bias", bias),
        ]
        y = self._graph.node(
            "Conv",
            [x, *names],
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[side // 2] * 4,
        )
        return self._graph.node("Relu", [y]) if relu else y

    def maps(self, x: str) -> str:
        """Add the whole network and return its last feature maps."""
        self._deep = "conv1.0.weight" in self._state  # variant D
        if self._deep:
            x = self._conv(x, "conv1.0", "conv1.1", 2)
            x = self._conv(x, "conv1.3", "conv1.4")
            x = self._conv(x, "conv1.6", "bn1")
        else:
            x = self._conv(x, "conv1", "bn1", 2)
        x = self._graph.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        for stage in range(1, 5):
            block = 0
            while f"layer{stage}.{block}.conv1.weight" in self._state:
                x = self._block(x, f"layer{stage}.{block}", 2 if stage > 1 and not block else 1)
                block += 1
        return x

    def _block(self, x: str, name: str, stride: int) -> str:
        """Add a bottleneck, or a basic block: two convolutions, the first with the stride."""
        if f"{name}.conv3.weight" in self._state:
            y = self._conv(x, f"{name}.conv1", f"{name}.bn1")
            y = self._conv(y, f"{name}.conv2", f"{name}.bn2", stride)
            y = self._conv(y, f"{name}.conv3", f"{name}.bn3", relu=False)
        else:
            y = self._conv(x, f"{name}.conv1", f"{name}.bn1", stride)
            y = self._conv(y, f"{name}.conv2", f"{name}.bn2", relu=False)
        if any(f"{name}.downsample.{i}.weight" in self._state for i in (0, 1)):
            x = self._shortcut(x, f"{name}.downsample", stride)
        return self._graph.node("Relu", [self._graph.node("Add", [y, x])])

    def _shortcut(self, x: str, name: str, stride: int) -> str:
        """Add the convolution beside a stage's first block; variant D averages before it."""
        if not self._deep:
            return self._conv(x, f"{name}.0", f"{name}.1", stride, relu=False)
        if stride > 1:
            x = self._graph.node(
                "AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1
            )
        return self._conv(x, f"{name}.1", f"{name}.2", relu=False)


def _pooled(graph: _Graph, given: Pretrained, pooling: str) -> tuple[str, str]:
    """Add the network and the pooling; return the average-pooled and the pooled features.

    With `mirror`, both are means over the image and its mirror image.
    """
    network = _Network(graph, given.state)
    views = ["pixels"]
    if given.preprocess.mirror:
        ends = {"starts": [-1], "ends": [np.iinfo(np.int64).min], "axes": [3], "steps": [-1]}
        names = [graph.constant(f"mirror.{k}", np.asarray(v, np.int64)) for k, v in ends.items()]
        views.append(graph.node("Slice", ["pixels", *names]))
    averages, pooled = [], []
    for view in views:
        maps = network.maps(view)
        averages.append(_flat(graph, graph.node("GlobalAveragePool", [maps])))
        pooled.append(_gem(graph, maps) if pooling == "gem" else averages[-1])
    return _mean(graph, averages), _mean(graph, pooled)


def _flat(graph: _Graph, x: str) -> str:
    return graph.node("Flatten", [x], axis=1)


def _gem(graph: _Graph, maps: str) -> str:
    """Add generalised-mean pooling."""
    eps = graph.constant("gem.eps", np.float32(GEM_EPS))
    power = graph.constant("gem.p", np.float32(GEM_P))
    root = graph.constant("gem.root", np.float32(1 / GEM_P))
    raised = graph.node("Pow", [graph.node("Max", [maps, eps]), power])
    mean = _flat(graph, graph.node("GlobalAveragePool", [raised]))
    return graph.node("Pow", [mean, root])


def _mean(graph: _Graph, values: list[str]) -> str:
    return values[0] if len(values) == 1 else graph.node("Mean", values)
