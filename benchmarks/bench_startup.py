"""A new process: import, load a local model, embed one image, exit. Also the import alone.

The local model is float32. The bundled one, which is float16, has no other library beside it.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.bench_embed import export
from benchmarks.common import Result, Settings, compare_commands
from benchmarks.pictures import photographs

BIRDEMBED = """
import birdembed as be
print(be.load_model({model!r}).encode({picture!r}).shape)
"""
BUNDLED = """
import birdembed as be
print(be.load_model().encode({picture!r}).shape)
"""
PILLOW = """
import numpy as np
from benchmarks.bench_files import load
x = np.empty((1, 3, 224, 224), np.float32)
load({picture!r}, x[0])
"""
# torch.load maps the file, which is the fastest way in torch.
TORCH = (
    PILLOW
    + """
import torch
from benchmarks.peers import torch_module
torch.set_num_threads({threads})
module = torch_module({{k: v.numpy() for k, v in
    torch.load({pth!r}, mmap=True, weights_only=True).items()}})
with torch.inference_mode():
    print(module(torch.from_numpy(x)).shape)
"""
)
ONNXRUNTIME = (
    PILLOW
    + """
from benchmarks.peers import onnxruntime_session
print(onnxruntime_session({onnx!r}, {threads})(x).shape)
"""
)
OPENVINO = (
    PILLOW
    + """
from benchmarks.peers import openvino_latency
print(openvino_latency({onnx!r}, {threads}, x.shape)(x).shape)
"""
)
NEEDS = {
    "torch + Pillow": "torch",
    "onnxruntime + Pillow": "onnxruntime",
    "openvino + Pillow": "openvino",
}


def _save_pth(weights: str, pth: Path) -> None:
    """Write a .pth file for torch, if torch is installed."""
    try:
        import torch
    except ImportError:
        return
    import numpy as np

    with np.load(weights) as state:
        torch.save({name: torch.from_numpy(array) for name, array in state.items()}, pth)


def main(settings: Settings) -> list[Result]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = {**export(folder), "threads": settings.threads, "pth": str(folder / "model.pth")}
        _save_pth(words["weights"], folder / "model.pth")
        words["picture"] = photographs(1, folder)[0][0]
        scripts = {
            "birdembed": BIRDEMBED,
            "torch + Pillow": TORCH,
            "onnxruntime + Pillow": ONNXRUNTIME,
            "openvino + Pillow": OPENVINO,
        }
        commands = {
            name: [sys.executable, "-c", script.format(**words)] for name, script in scripts.items()
        }
        first = compare_commands(
            "new process: import, load, embed one picture", commands, settings, needs=NEEDS
        )
        bundled = [sys.executable, "-c", BUNDLED.format(**words)]
        second = compare_commands(
            "new process: import, load the bundled model, embed one picture",
            {"birdembed": bundled},
            settings,
            needs={},
        )
    imports = {name: [sys.executable, "-c", f"import {name}"] for name in ("birdembed", "numpy")}
    third = compare_commands("new process: import alone", imports, settings, needs={})
    ours, theirs = (statistics.median(third.seconds[name]) for name in ("birdembed", "numpy"))
    third.notes.append(f"import birdembed: {(ours - theirs) * 1e3:+.0f} ms more than import numpy")
    print(f"  {third.notes[0]}", flush=True)
    return [first, second, third]
