"""The same ResNet-50 for the peers, as a torch module and as an ONNX file.

Each function imports its library itself, so that a benchmark can run with the installed ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Network = Callable[[np.ndarray], np.ndarray]  # float32 (n, 3, s, s) -> (n, 2048)

DEPTHS = (3, 4, 6, 3)
EPS = 1e-5


def torch_module(state: dict[str, np.ndarray]) -> Any:
    """Return the ResNet-50 of torchvision without its head, in evaluation mode."""
    import torch
    from torch import nn

    def conv(c_in: int, c_out: int, size: int, stride: int = 1) -> nn.Conv2d:
        return nn.Conv2d(c_in, c_out, size, stride, size // 2, bias=False)

    class Bottleneck(nn.Module):
        def __init__(self, c_in: int, width: int, stride: int):
            super().__init__()
            self.conv1, self.bn1 = conv(c_in, width, 1), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = conv(width, width * 4, 1), nn.BatchNorm2d(width * 4)
            self.relu = nn.ReLU(inplace=True)
            self.downsample = None
            if stride != 1 or c_in != width * 4:
                shortcut = conv(c_in, width * 4, 1, stride)
                self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(width * 4))

        def forward(self, x: Any) -> Any:
            y = self.relu(self.bn1(self.conv1(x)))
            y = self.relu(self.bn2(self.conv2(y)))
            y = self.bn3(self.conv3(y))
            return self.relu(y + (x if self.downsample is None else self.downsample(x)))

    class ResNet50(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = conv(3, 64, 7, 2), nn.BatchNorm2d(64)
            self.relu = nn.ReLU(inplace=True)
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            channels = 64
            for i, depth in enumerate(DEPTHS):
                blocks = []
                for j in range(depth):
                    blocks.append(Bottleneck(channels, 64 << i, 2 if i and not j else 1))
                    channels = 256 << i
                setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))

        def forward(self, x: Any) -> Any:
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return x.mean(dim=(2, 3))

    module = ResNet50()
    tensors = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in state.items()}
    missing, unexpected = module.load_state_dict(tensors, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ValueError(f"wrong weights: missing {missing[:3]}, unexpected {unexpected[:3]}")
    return module.eval()


def write_onnx(state: dict[str, np.ndarray], path: Path) -> None:
    """Write the network with batch norms folded into the convolutions, for any batch size."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants: list[Any] = []

    def conv(x: str, name: str, norm: str, stride: int) -> str:
        weight = state[f"{name}.weight"].astype(np.float64)
        variance = state[f"{norm}.running_var"].astype(np.float64)
        scale = state[f"{norm}.weight"] / np.sqrt(variance + EPS)
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
        for suffix, array in ("w", weight * scale[:, None, None, None]), ("b", bias):
            constants.append(numpy_helper.from_array(array.astype(np.float32), f"{name}.{suffix}"))
        size = weight.shape[2]
        nodes.append(
            helper.make_node(
                "Conv",
                [x, f"{name}.w", f"{name}.b"],
                [name],
                kernel_shape=[size, size],
                strides=[stride, stride],
                pads=[size // 2] * 4,
            )
        )
        return name

    def relu(x: str) -> str:
        nodes.append(helper.make_node("Relu", [x], [f"{x}.relu"]))
        return f"{x}.relu"

    x = relu(conv("x", "conv1", "bn1", 2))
    nodes.append(
        helper.make_node(
            "MaxPool", [x], ["pool"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
        )
    )
    x = "pool"
    for i, depth in enumerate(DEPTHS):
        for j in range(depth):
            block, stride = f"layer{i + 1}.{j}", 2 if i and not j else 1
            y = relu(conv(x, f"{block}.conv1", f"{block}.bn1", 1))
            y = relu(conv(y, f"{block}.conv2", f"{block}.bn2", stride))
            y = conv(y, f"{block}.conv3", f"{block}.bn3", 1)
            if not j:
                x = conv(x, f"{block}.downsample.0", f"{block}.downsample.1", stride)
            nodes.append(helper.make_node("Add", [y, x], [f"{block}.sum"]))
            x = relu(f"{block}.sum")
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], ["embedding"]))
    graph = helper.make_graph(
        nodes,
        "resnet50",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 2048])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def write_int8_onnx(onnx: Path, path: Path, pixels: np.ndarray) -> None:
    """Write the network in int8, quantized by ONNX Runtime with ranges measured on `pixels`.

    Weights are quantized per channel, activations unsigned, with QuantizeLinear and
    DequantizeLinear nodes, which both ONNX Runtime and OpenVINO turn into int8 convolutions.
    """
    from onnxruntime import quantization as q

    class Batches(q.CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter(np.array_split(pixels, max(1, len(pixels) // 4)))

        def get_next(self) -> dict[str, np.ndarray] | None:
            x = next(self.rows, None)
            return None if x is None else {"x": x}

    q.quantize_static(
        str(onnx),
        str(path),
        Batches(),
        quant_format=q.QuantFormat.QDQ,
        per_channel=True,
        activation_type=q.QuantType.QUInt8,
        weight_type=q.QuantType.QInt8,
    )


def torch_eager(weights: str, threads: int) -> Network:
    """Return torch in eager mode, with channels_last and inference mode."""
    import torch

    torch.set_num_threads(threads)
    with np.load(weights) as state:
        module = torch_module(dict(state)).to(memory_format=torch.channels_last)

    def network(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            tensor = torch.from_numpy(x).to(memory_format=torch.channels_last)
            return np.asarray(module(tensor).numpy())

    return network


def onnxruntime_session(onnx: str, threads: int) -> Network:
    """Return ONNX Runtime with all graph optimisations and a thread pool of the same size."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def openvino_latency(
    onnx: str, threads: int, shape: tuple[int, ...], precision: str = "f32"
) -> Network:
    """Return OpenVINO with one request at a time on all threads and a static shape."""
    return _openvino(onnx, threads, shape, "LATENCY", precision)


def openvino_throughput(
    onnx: str, threads: int, shape: tuple[int, ...], precision: str = "f32"
) -> Network:
    """Return OpenVINO with its optimal number of requests; the batch is split between them."""
    return _openvino(onnx, threads, shape, "THROUGHPUT", precision)


def _openvino(
    onnx: str, threads: int, shape: tuple[int, ...], hint: str, precision: str
) -> Network:
    import openvino as ov

    core = ov.Core()
    config = {
        "PERFORMANCE_HINT": hint,
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
    }

    def compiled(n: int) -> Any:
        model = core.read_model(onnx)
        model.reshape([n, *shape[1:]])
        return core.compile_model(model, "CPU", config)

    ready: dict[int, Any] = {}  # rows per request -> request, or queue of requests

    def requests(n: int) -> Any:
        if n not in ready:
            model = compiled(n)
            if hint == "LATENCY":
                ready[n] = model.create_infer_request()
            else:
                ready[n] = ov.AsyncInferQueue(model)
                ready[n].set_callback(_store)
        return ready[n]

    if hint == "LATENCY":
        return lambda x: np.array(requests(len(x)).infer({0: x})[0])
    streams = len(ov.AsyncInferQueue(compiled(1)))

    def network(x: np.ndarray) -> np.ndarray:
        rows = max(1, len(x) // streams)
        found = np.empty((len(x), 2048), np.float32)
        for start in range(0, len(x), rows):
            part = x[start : start + rows]
            requests(len(part)).start_async({0: part}, found[start : start + rows])
        for queue in ready.values():
            queue.wait_all()
        return found

    return network


def _store(request: Any, rows: np.ndarray) -> None:
    rows[:] = request.get_output_tensor(0).data
