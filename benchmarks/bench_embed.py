"""The network alone: float32 pixels to embeddings, at batch 1, 8 and 32, in two precisions."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.common import Result, Settings, Work, compare, relative_l2

SIZE = 224
BATCHES = (1, 8, 32)
IMAGES = 32  # a repetition, so that short calls are timed many at once


def export(folder: Path) -> dict[str, Any]:
    """Write one set of random weights for everybody and return where it is."""
    import birdembed as be

    model = be.Model("resnet50", num_classes=0, seed=0)
    model.save_pretrained(folder / "model")
    state = model.state_dict()
    np.savez(folder / "weights.npz", **state)
    paths = {"model": str(folder / "model"), "weights": str(folder / "weights.npz")}
    try:
        peers.write_onnx(state, folder / "model.onnx")
        paths["onnx"] = str(folder / "model.onnx")
    except ImportError:
        paths["onnx"] = ""
    return paths


def _work(network: peers.Network, options: dict[str, Any]) -> Work:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((options["batch"], 3, SIZE, SIZE), dtype=np.float32)

    def work() -> np.ndarray:
        for _ in range(IMAGES // options["batch"]):
            y = network(x)
        return y

    return work


def _shape(options: dict[str, Any]) -> tuple[int, ...]:
    return (options["batch"], 3, SIZE, SIZE)


def birdembed(options: dict[str, Any]) -> Work:
    import birdembed as be

    model = be.load_model(options["model"], precision=options["precision"])
    return _work(model.forward_tensor, options)


def birdembed_float32(options: dict[str, Any]) -> Work:
    return birdembed({**options, "precision": "float32"})


def torch(options: dict[str, Any]) -> Work:
    return _work(peers.torch_eager(options["weights"], options["threads"]), options)


def onnxruntime(options: dict[str, Any]) -> Work:
    return _work(peers.onnxruntime_session(_onnx(options), options["threads"]), options)


def openvino_latency(options: dict[str, Any]) -> Work:
    return _work(peers.openvino_latency(*_openvino_arguments(options)), options)


def openvino_throughput(options: dict[str, Any]) -> Work:
    return _work(peers.openvino_throughput(*_openvino_arguments(options)), options)


def _openvino_arguments(options: dict[str, Any]) -> tuple[str, int, tuple[int, ...], str]:
    hint = {"float32": "f32", "bfloat16": "bf16"}[options["precision"]]
    return _onnx(options), options["threads"], _shape(options), hint


def _onnx(options: dict[str, Any]) -> str:
    if not options["onnx"]:
        raise ImportError("onnx is not installed: no file to run")
    return str(options["onnx"])


CONTENDERS = {
    "birdembed": birdembed,
    "torch": torch,
    "onnxruntime": onnxruntime,
    "openvino latency": openvino_latency,
    "openvino throughput": openvino_throughput,
    "birdembed float32": birdembed_float32,
}
OF_FLOAT32 = [name for name in CONTENDERS if name != "birdembed float32"]
OF_BFLOAT16 = ["birdembed", "birdembed float32", "openvino latency", "openvino throughput"]


def main(settings: Settings) -> list[Result]:
    import birdembed as be

    cases = [("float32", OF_FLOAT32, 1e-4)]
    if "bfloat16" in be.info()["precisions"]:
        cases.append(("bfloat16", OF_BFLOAT16, 0.05))
    with tempfile.TemporaryDirectory() as folder:
        paths = export(Path(folder))
        return [
            compare(
                f"network, {precision}, batch {batch}",
                __name__,
                contenders,
                {**paths, "batch": batch, "precision": precision},
                settings,
                amount=IMAGES,
                check=relative_l2(limit),
            )
            for precision, contenders, limit in cases
            for batch in BATCHES
        ]
