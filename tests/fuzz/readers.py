"""What reads files that may come from anywhere, each with a small folder of files for it."""

import dataclasses
import json
import struct
import warnings
import zlib
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np

import birdembed as be
from birdembed import _core
from birdembed.pretrained import reading
from birdembed.search.embedding_cache import EmbeddingCache
from birdembed.search.index_file import read_index, write_index
from birdembed.search.rows import Rows
from birdembed.training import checkpoint
from birdembed.training.run import Position
from birdembed.weights import safetensors_file
from birdembed.weights.projection import Projection, write_projection
from birdembed.weights.tensors import StoredTensor
from birdembed.weights.torch_file import read_pth
from tests.fuzz import mutations

DIM = 8


class Index:
    """An index file, mapped or not: its rows, strings and numbers."""

    mutate = staticmethod(mutations.of_header)

    def make(self, folder):
        rows = Rows.of(
            np.eye(5, DIM, dtype=np.float32),
            [f"bird-{i}.jpg" for i in range(5)],
            ["wren", "tit", None, "wren", "Kleiber \u00fc"],
            {"path": ["a", None, "b", "c", "d"], "size": np.arange(5), "x": np.zeros(5)},
            "f" * 64,
        )
        write_index(folder / "index", rows)

    def read(self, folder):
        for mapped in (True, False):
            rows = read_index(folder / "index", mapped=mapped)
            for column in (rows.ids, rows.labels, *rows.columns.values()):
                list(column)
            be.Index.load(folder / "index", mmap=mapped)


class Cache:
    """The file of computed rows; what is damaged there is warned of and done without."""

    keys = tuple(bytes([i]) * 32 for i in range(4))
    header = 100
    record = 32 + 12 + 4 * DIM + 4

    def make(self, folder):
        cache = EmbeddingCache(folder, "f" * 64)
        cache.put(self.keys, np.eye(4, DIM, dtype=np.float32), ["birdembed", "pillow"] * 2)

    def mutate(self, rng, data):
        made = mutations.of_bytes(rng, data)
        if rng.random() < 0.5 and len(made) >= self.header:  # checksums that fit again
            start = made[: self.header - 4]
            made = start + struct.pack("<I", zlib.crc32(start)) + made[self.header :]
            for at in range(self.header, len(made) - self.record + 1, self.record):
                end = at + self.record - 4
                fitting = struct.pack("<I", zlib.crc32(made[at:end]))
                made = made[:end] + fitting + made[end + 4 :]
        return made

    def read(self, folder):
        for _ in range(2):
            cache = EmbeddingCache(folder, "f" * 64)
            for key in self.keys:
                cache.get(key)
            cache.put([b"n" * 32], np.ones((1, DIM), np.float32), ["birdembed"])


class Config:
    """The JSON of model folders of birdembed, timm and transformers; the weights are a stand-in."""

    mutate = staticmethod(mutations.of_json)

    def make(self, folder):
        classes = ["wren", "tit", "Kleiber \u00fc"]
        model = be.Model("resnet50", 3, class_names=classes, preprocess=be.Preprocess(size=32))
        self.state = model.state_dict()
        model.save_pretrained(folder)
        (folder / "model.safetensors").write_bytes(b"")
        config = json.loads((folder / "config.json").read_text())
        config["birdembed"] |= {
            "threshold": 0.5,
            "projection": {"default": True},
            "gallery": True,
            "calibration": {"bias": 0.1, "score": 1.0, "margin": 2.0},
            "species": {"wren": ["Wren", "Troglodytes"]},
        }
        (folder / "config.json").write_text(json.dumps(config))
        matrix = np.eye(2048, 2, dtype=np.float32)
        write_projection(
            folder / "projection.safetensors", Projection("avg", np.zeros(2048, "f4"), matrix)
        )
        hugging = {"architectures": ["ResNetForImageClassification"], "model_type": "resnet"}
        hugging |= {"id2label": {"0": "wren", "1": "tit", "2": "crow"}, "depths": [3, 4, 6, 3]}
        hugging |= {"layer_type": "bottleneck", "hidden_sizes": [256, 512, 1024, 2048]}
        hugging |= {"embedding_size": 64, "downsample_in_bottleneck": False}
        (folder / "hugging.json").write_text(json.dumps(hugging))
        prepare = {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3}
        prepare |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_resize": True}
        (folder / "preprocessor_config.json").write_text(json.dumps(prepare))
        # The weights are a file of their own, with a reader of its own: read once.
        reading.read_weights = lambda path: {}
        reading.to_native = lambda tensors, source, architecture, classes: (
            str(architecture),
            self.state,
        )

    def names(self):
        return ["config.json", "hugging.json", "preprocessor_config.json"]

    def read(self, folder):
        reading.read_pretrained(folder)

    def read_other(self, folder):
        (folder / "hugging.json").replace(folder / "config.json")
        reading.read_pretrained(folder)


class Checkpoint:
    """last.json with checksums that fit, and the arrays that it names; of a small table."""

    def make(self, folder):
        table = [("conv1.weight", (2, 3)), ("fc.weight", (2, 2))]
        checkpoint._core = SimpleNamespace(
            architectures=_core.architectures, parameter_table=lambda *_: table
        )
        arrays = {kind: [np.ones(shape, "f4") for _, shape in table] for kind in ("model", "m")}
        checkpoint.write_checkpoint(
            folder,
            checkpoint.Checkpoint(
                "resnet50",
                ["wren", "tit"],
                be.Preprocess(size=96),
                arrays,
                step=3,
                position=dataclasses.asdict(Position(epoch=1, epoch_start=2, loss=0.5, images=4)),
                config={"epochs": 2, "lr": 0.1},
                history=[{"epoch": 1, "step": 2, "train_loss": 0.7}],
                data={"images": 4, "digest": "birds"},
                base_size=96,
                training={"epochs": 2},
                species_names={"wren": ("Wren", "Troglodytes")},
                learned={"scale": np.ones(1, "f4")},
            ),
        )

    def mutate(self, rng, data):
        if not data.startswith(b"{"):
            return mutations.of_header(rng, data)
        if rng.random() < 0.3:
            return mutations.of_bytes(rng, data)
        value = mutations.of_value(rng, json.loads(data))
        if isinstance(value, dict) and "own_checksum" in value:
            rest = {name: item for name, item in value.items() if name != "own_checksum"}
            value["own_checksum"] = zlib.crc32(json.dumps(rest, sort_keys=True).encode())
        return mutations.as_json(value)

    def read(self, folder):
        checkpoint.read_checkpoint(folder)


class Pth:
    """A PyTorch file, new or old format."""

    mutate = staticmethod(mutations.of_zip)

    def make(self, folder):
        import torch

        state = OrderedDict(
            weight=torch.ones(2, 3), bias=torch.zeros(3, dtype=torch.float16), n=torch.tensor(4)
        )
        state["view"] = state["weight"].t()
        whole = {"state_dict": state, "epoch": 3, "note": "x", "list": [1, (2.5, None)]}
        torch.save(whole, folder / "new.pth")
        torch.save(whole, folder / "old.pth", _use_new_zipfile_serialization=False)

    def read(self, folder):
        for path in folder.iterdir():
            touch(read_pth(path))


class Safetensors:
    """Weights in a safetensors file, and its metadata."""

    mutate = staticmethod(mutations.of_header)

    def make(self, folder):
        tensors = {"a": np.ones((2, 3), "f4"), "b": np.zeros(0, "f4"), "c": np.ones(3, "f2")}
        safetensors_file.write_safetensors(folder / "x.safetensors", tensors, {"pooling": "avg"})

    def read(self, folder):
        safetensors_file.read_metadata(folder / "x.safetensors")
        touch(safetensors_file.read_safetensors(folder / "x.safetensors"))


def touch(tensors):
    """Read every value, as loading a model does."""
    for name, tensor in tensors.items():
        assert isinstance(tensor, StoredTensor)
        try:
            tensor.float32(name)
        except _core.WeightsError:
            pass


READERS = {
    kind.__name__.lower(): kind for kind in (Index, Cache, Config, Checkpoint, Pth, Safetensors)
}
warnings.simplefilter("ignore")
