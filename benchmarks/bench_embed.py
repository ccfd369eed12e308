"""The network alone: float32 pixels to embeddings, at batch 1, 8 and 32, in three precisions."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.common import Result, Settings, Work, compare, relative_l2

SIZE = 224
BATCHES = (1, 8, 32)
IMAGES = 32  # per repetition, so that short calls are timed together
CALIBRATION = 16  # images whose activations set the ranges of int8


def export(folder: Path) -> dict[str, Any]:
    """Write the same random weights for all contenders and return their paths."""
    import birdembed as be

    model = be.Model("resnet50", num_classes=0, seed=0)
    model.save_pretrained(folder / "model")
    state = model.state_dict()
    np.savez(folder / "weights.npz", **state)
    paths = {"model": str(folder / "model"), "weights": str(folder / "weights.npz")}
    paths["onnx"] = paths["int8 onnx"] = ""
    try:
        peers.write_onnx(state, folder / "model.onnx")
        paths["onnx"] = str(folder / "model.onnx")
        peers.write_int8_onnx(folder / "model.onnx", folder / "int8.onnx", _pixels(CALIBRATION))
        paths["int8 onnx"] = str(folder / "int8.onnx")
    except ImportError as error:
        print(f"no model file for the peers: {error}")
    if "int8" in be.info()["precisions"]:
        model.preprocess = be.Preprocess(size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
        noise = np.clip(_pixels(CALIBRATION) * 63.75 + 127.5, 0, 255).astype(np.uint8)
        model.quantize(list(noise.transpose(0, 2, 3, 1))).save_pretrained(folder / "int8")
        paths["int8 model"] = str(folder / "int8")
    return paths


def _pixels(n: int) -> np.ndarray:
    """Return network input of normally distributed numbers."""
    return np.random.default_rng(0).standard_normal((n, 3, SIZE, SIZE), dtype=np.float32)


def _work(network: peers.Network, options: dict[str, Any]) -> Work:
    x = _pixels(options["batch"])

    def work() -> np.ndarray:
        for _ in range(IMAGES // options["batch"]):
            y = network(x)
        return y

    return work


def _shape(options: dict[str, Any]) -> tuple[int, ...]:
    return (options["batch"], 3, SIZE, SIZE)


def birdembed(options: dict[str, Any]) -> Work:
    import birdembed as be

    folder = options["int8 model" if options["precision"] == "int8" else "model"]
    model = be.load_model(folder, precision=options["precision"])
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
    # A file in int8 computes in int8; the hint is for its float parts.
    hint = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}[options["precision"]]
    return _onnx(options), options["threads"], _shape(options), hint


def _onnx(options: dict[str, Any]) -> str:
    path = options["int8 onnx" if options["precision"] == "int8" else "onnx"]
    if not path:
        raise ImportError("onnx is not installed, so there is no file to run")
    return str(path)


CONTENDERS = {
    "birdembed": birdembed,
    "torch": torch,
    "onnxruntime": onnxruntime,
    "openvino latency": openvino_latency,
    "openvino throughput": openvino_throughput,
    "birdembed float32": birdembed_float32,
}
OF_FLOAT32 = [name for name in CONTENDERS if name != "birdembed float32"]
OF_INT8 = ["birdembed", "birdembed float32", "onnxruntime", "openvino latency"]
OF_INT8 += ["openvino throughput"]
OF_BFLOAT16 = ["birdembed", "birdembed float32", "openvino latency", "openvino throughput"]


def main(settings: Settings) -> list[Result]:
    import birdembed as be

    cases = [("float32", OF_FLOAT32, 1e-4)]
    if "bfloat16" in be.info()["precisions"]:
        cases.append(("bfloat16", OF_BFLOAT16, 0.05))
    if "int8" in be.info()["precisions"]:
        cases.append(("int8", OF_INT8, 0.05))
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
