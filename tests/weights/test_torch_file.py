"""Reading .pth files: what torch writes, and what an attacker writes."""

import collections
import io
import os
import pickle
import zipfile
from argparse import Namespace

import numpy as np
import pytest

from birdembed._core import WeightsError
from birdembed.weights.reading import read_weights

torch = pytest.importorskip("torch")

FORMATS = pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "legacy"])


def save(value, path, zip_format):
    torch.save(value, path, _use_new_zipfile_serialization=zip_format)
    return path


def assert_same(stored, tensors):
    assert list(stored) == list(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(stored[name].float32(name), tensor.detach().float().numpy())


@FORMATS
def test_dtypes_strides_and_shared_storages(tmp_path, zip_format):
    torch.manual_seed(0)
    base = torch.randn(6, 8)
    tensors = {
        "float32": torch.randn(3, 4, 5),
        "float16": torch.randn(7).half(),
        "bfloat16": torch.randn(3, 3).bfloat16(),
        "float64": torch.randn(2, 2, dtype=torch.float64),
        "transposed": base.t(),
        "rows": base[2:4],
        "column": base[:, 3],
        "strided": base[::2, 1::3],
        "channels_last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "expanded": torch.randn(3, 1).expand(3, 4),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(4)),
    }
    stored = read_weights(save(tensors, tmp_path / "x.pth", zip_format))
    assert_same(stored, tensors)
    assert [stored[n].dtype for n in ("float32", "float16", "bfloat16", "float64")] == [
        *("F32", "F16", "BF16", "F64")
    ]
    with_count = {"n": torch.tensor(7)}
    count = read_weights(save(with_count, tmp_path / "n.pth", zip_format))["n"]
    assert count.dtype == "I64"
    assert count.array == 7


@FORMATS
@pytest.mark.parametrize("key", ["model_state_dict", "state_dict", "model"])
def test_checkpoints_are_unwrapped(tmp_path, zip_format, key):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.randn(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 3,
        "arch": "resnet50",
        "args": Namespace(lr=0.1, device=torch.device("cpu"), dtype=torch.float32),
        "best": np.float64(0.5),
        "history": np.arange(3),
        "rng": torch.get_rng_state(),
        "optimizer": optimizer.state_dict(),
        key: module.state_dict(),
    }
    stored = read_weights(save(checkpoint, tmp_path / "x.pth", zip_format))
    state = module.state_dict()
    assert list(stored) == list(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(stored[name].array, tensor.numpy())


class Evil:
    """Runs a command when unpickled by an unguarded pickle."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def evil_zip(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")
    return path


@FORMATS
def test_malicious_pickle_is_refused_by_name_and_not_run(tmp_path, zip_format):
    marker = tmp_path / "ran"
    path = save({"a": torch.ones(1), "b": Evil(marker)}, tmp_path / "evil.pth", zip_format)
    with pytest.raises(WeightsError, match=r"evil\.pth.*refused.*posix\.system"):
        read_weights(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("opcodes", "asked"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"cbuiltins\ngetattr\n.", "builtins.getattr"),
        (b"ctorch._utils\n__builtins__\n.", "torch._utils.__builtins__"),
        (b"ccollections\nnamedtuple\n.", "collections.namedtuple"),
        (b"\x80\x04\x8c\x05torch\x8c\x0ahub.loadx.\x93.", "torch.hub.loadx."),
        (b"(S'id'\nios\nsystem\n.", "os.system"),
        (b"ctorch.jit\nload\n(S'x'\ntR.", "torch.jit.load"),
        (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
        (b"ctorch.storage\n_load_from_bytes\n(S'x'\ntR.", "torch.storage._load_from_bytes"),
    ],
)
def test_globals_outside_the_list(tmp_path, opcodes, asked):
    with pytest.raises(WeightsError, match="refused") as caught:
        read_weights(evil_zip(tmp_path / "x.pth", opcodes))
    assert f"uses {asked}," in str(caught.value)


def test_a_pickle_cannot_change_what_the_next_one_meets(tmp_path):
    # BUILD with a slot state sets attributes: on OrderedDict's stand-in, on a rebuild function.
    for name in (b"collections\nOrderedDict", b"torch._utils\n_rebuild_tensor_v2"):
        poison = b"c" + name + b"\n(N}S'function'\nNsS'__init__'\nNstb."
        with pytest.raises(WeightsError):
            read_weights(evil_zip(tmp_path / "x.pth", poison))
    tensors = collections.OrderedDict(a=torch.arange(3.0))
    assert_same(read_weights(save(tensors, tmp_path / "y.pth", True)), tensors)


def test_whole_pickled_models_are_refused(tmp_path):
    path = save(torch.nn.Linear(2, 2), tmp_path / "x.pth", True)
    with pytest.raises(WeightsError, match=r"torch\.nn\.modules\.linear\.Linear.*state_dict\(\)"):
        read_weights(path)


def forged(size, stride, offset, numel=4):
    """A zip whose one tensor says of itself what it likes; its storage has `numel` floats."""

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, "0", "cpu", numel)
            return None

    class Tensor:
        def __reduce__(self):
            hooks = collections.OrderedDict()
            arguments = (Storage(), offset, size, stride, False, hooks)
            return torch._utils._rebuild_tensor_v2, arguments

    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump({"x": Tensor()})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((5,), (1,), 0),
        ((4,), (1,), 1),
        ((2, 2), (3, 1), 0),
        ((2,), (1 << 62,), 0),
        ((-1,), (1,), 0),
        ((2,), (-1,), 3),
        ((2,), (1,), -1),
        ((2,), (1, 1), 0),
        ((2.0,), (1,), 0),
    ],
)
def test_tensors_never_reach_outside_their_storage(tmp_path, size, stride, offset):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", forged(size, stride, offset))
        archive.writestr("archive/data/0", np.arange(4, dtype="<f4").tobytes())
    with pytest.raises(WeightsError, match=r"x\.pth"):
        read_weights(path)


def test_forged_tensors_that_fit_are_read(tmp_path):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", forged((2, 2), (1, 2), 0))
        archive.writestr("archive/data/0", np.arange(4, dtype="<f4").tobytes())
    np.testing.assert_array_equal(read_weights(path)["x"].float32("x"), [[0, 2], [1, 3]])


def test_short_and_compressed_members(tmp_path):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", forged((4,), (1,), 0))
        archive.writestr("archive/data/0", b"\0" * 8)
    with pytest.raises(WeightsError, match="has 8 bytes"):
        read_weights(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 1000)
    with pytest.raises(WeightsError, match="compressed"):
        read_weights(path)


@FORMATS
def test_truncated_anywhere(tmp_path, zip_format):
    path = save({"a": torch.randn(20, 30), "b": torch.ones(5)}, tmp_path / "x.pth", zip_format)
    content = path.read_bytes()
    for keep in sorted({1, 2, 10, 40, len(content) - 1, *range(60, len(content), 97)}):
        path.write_bytes(content[:keep])
        with pytest.raises(WeightsError, match=r"x\.pth"):
            read_weights(path)


@FORMATS
def test_flipped_bytes_give_weights_errors_only(tmp_path, zip_format):
    path = save({"a": torch.randn(3, 3), "b": torch.ones(5)}, tmp_path / "x.pth", zip_format)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.choice(len(content), 300, replace=False):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            read_weights(path)
        except WeightsError:
            pass


@pytest.mark.parametrize(
    "value", [[1, 2], {"a": 1}, {"state_dict": {"epoch": 3}}, {1: torch.ones(1)}, "text"]
)
def test_other_values_are_named(tmp_path, value):
    with pytest.raises(WeightsError, match="expected a dict of tensors"):
        read_weights(save(value, tmp_path / "x.pth", True))


def test_torchscript_and_plain_pickles(tmp_path):
    scripted = torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2))
    scripted.save(str(tmp_path / "script.pth"))
    with pytest.raises(WeightsError, match="TorchScript"):
        read_weights(tmp_path / "script.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(WeightsError, match=r"not from torch\.save"):
        read_weights(tmp_path / "plain.pth")
    np.savez(tmp_path / "arrays.npz", a=np.ones(3))
    with pytest.raises(WeightsError, match=r"without data\.pkl"):
        read_weights(tmp_path / "arrays.npz")
