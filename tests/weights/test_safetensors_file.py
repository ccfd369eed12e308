"""Reading and writing safetensors files."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from birdembed._core import WeightsError
from birdembed.base.files import replacing
from birdembed.weights.reading import read_weights
from birdembed.weights.safetensors_file import read_safetensors, write_safetensors
from birdembed.weights.tensors import StoredTensor


def write_raw(path, dtype, shape, content, name="x"):
    """A safetensors file by hand: the format is 8 bytes of length, JSON, data."""
    entry = {"dtype": dtype, "shape": list(shape), "data_offsets": [0, len(content)]}
    header = json.dumps({name: entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + content)
    return path


def test_float32_and_float16_come_back_exactly(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {
        "a": rng.standard_normal((3, 5, 2), dtype=np.float32),
        "b": rng.standard_normal(7).astype(np.float16),
        "scalar": np.zeros((), np.int64),
    }
    save_file(tensors, tmp_path / "x.safetensors")
    stored = read_weights(tmp_path / "x.safetensors")
    assert {name: t.dtype for name, t in stored.items()} == {
        "a": "F32",
        "b": "F16",
        "scalar": "I64",
    }
    for name in ("a", "b"):
        wide = stored[name].float32(name)
        assert wide.dtype == np.float32
        assert wide.flags.c_contiguous
        np.testing.assert_array_equal(wide, tensors[name].astype(np.float32))
    with pytest.raises(WeightsError, match="scalar has dtype I64"):
        stored["scalar"].float32("scalar")


def test_float16_is_widened_exactly(tmp_path):
    bits = np.arange(1 << 16, dtype=np.uint16)
    finite = bits[bits & 0x7C00 != 0x7C00]
    path = tmp_path / "x.safetensors"
    write_raw(path, "F16", finite.shape, finite.tobytes())
    stored = read_weights(path)["x"]
    assert stored.floats("x").dtype == np.float16
    wide = stored.float32("x")
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(
        wide.view(np.uint32), finite.view(np.float16).astype("f4").view("u4")
    )


@pytest.mark.parametrize("bad", [0x7C00, 0xFC00, 0x7E00, 0xFC01])
def test_float16_that_is_not_finite(tmp_path, bad):
    bits = np.full(100_000, 0x3C00, np.uint16)
    bits[77_777] = bad
    path = tmp_path / "x.safetensors"
    write_raw(path, "F16", bits.shape, bits.tobytes())
    with pytest.raises(WeightsError, match="x contains NaN or infinity; the training may have"):
        read_weights(path)["x"].floats("x")


def test_float16_at_an_odd_place(tmp_path):
    path = tmp_path / "x.safetensors"
    values = np.arange(12, dtype=np.float16).reshape(3, 4)
    header = json.dumps({"x": {"dtype": "F16", "shape": [3, 4], "data_offsets": [0, 24]}}).encode()
    header += b" " * (1 - len(header) % 2)
    path.write_bytes(len(header).to_bytes(8, "little") + header + values.tobytes())
    stored = read_weights(path)["x"]
    assert not stored.array.flags.aligned
    floats = stored.floats("x")
    assert floats.flags.aligned
    assert floats.dtype == np.float16
    np.testing.assert_array_equal(floats, values)


def test_bfloat16_is_widened_exactly(tmp_path):
    # Every finite bit pattern: sign, exponent and the upper seven bits of the fraction.
    bits = np.arange(1 << 16, dtype=np.uint16)
    bits = bits[bits >> 7 & 0xFF != 0xFF]  # an exponent of ones: infinity and NaN
    path = write_raw(tmp_path / "x.safetensors", "BF16", (510, 128), bits.tobytes())
    wide = read_weights(path)["x"].float32("x")
    assert wide.shape == (510, 128)
    np.testing.assert_array_equal(wide.view(np.uint32) >> 16, bits.reshape(510, 128))
    assert not np.any(wide.view(np.uint32) & 0xFFFF)


def test_bfloat16_as_torch_writes_it(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as torch_save_file

    values = torch.randn(5, 4, dtype=torch.bfloat16)
    torch_save_file({"x": values, "n": torch.tensor(3)}, tmp_path / "x.safetensors")
    wide = read_weights(tmp_path / "x.safetensors")["x"].float32("x")
    np.testing.assert_array_equal(wide, values.float().numpy())


def test_a_header_length_that_begins_like_a_pickle(tmp_path):
    # 0x80 is the first byte of the length here, and of a pickle.
    path = tmp_path / "x.safetensors"
    name = "n" * (0x180 - len(json.dumps({"": {"dtype": "F32", "shape": [1]}})) - 24)
    for padding in range(64):
        write_raw(path, "F32", (1,), b"\0\0\0\0", name + "n" * padding)
        if path.read_bytes()[0] == 0x80:
            break
    assert path.read_bytes()[0] == 0x80
    assert len(read_weights(path)) == 1


def test_strided_arrays_are_made_contiguous():
    array = np.arange(12, dtype=np.float32).reshape(3, 4).T
    wide = StoredTensor("F32", array).float32("x")
    assert wide.flags.c_contiguous
    np.testing.assert_array_equal(wide, array)


@pytest.mark.parametrize("keep", [0, 4, 8, 60, 0.5, -1])
def test_truncated_file(tmp_path, keep):
    path = tmp_path / "x.safetensors"
    save_file({"a": np.ones((100, 10), np.float32)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if 0 < keep < 1 else keep])
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        read_weights(path)


def test_other_things_than_weights(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        read_weights(tmp_path / "absent.safetensors")
    with pytest.raises(WeightsError, match="cannot be read: Is a directory"):
        read_weights(tmp_path)
    html = tmp_path / "page.safetensors"
    html.write_bytes(b"<!DOCTYPE html><html>" * 40)
    with pytest.raises(WeightsError, match="page"):
        read_weights(html)
    pointer = tmp_path / "pointer.safetensors"
    pointer.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(WeightsError, match="git lfs pull"):
        read_weights(pointer)


def test_unknown_dtype(tmp_path):
    path = write_raw(tmp_path / "x.safetensors", "F8_E4M3", (4,), b"\0" * 4)
    with pytest.raises(WeightsError, match="x"):
        read_weights(path)["x"].float32("x")


def test_written_files_are_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"a": np.ones(3, np.float32)})
    assert list(load_file(path)) == ["a"]
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "plain").unlink()
    assert read_safetensors(path)["a"].dtype == "F32"
    before = path.read_bytes()

    def broken_save(tensors, filename, metadata=None):
        filename.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(filename))

    monkeypatch.setattr("safetensors.numpy.save_file", broken_save)
    with pytest.raises(OSError, match=r"No space left on device: '.*/x\.safetensors'"):
        write_safetensors(path, {"a": np.zeros(3, np.float32)})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_unwritable_target(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/x\.safetensors"):
        write_safetensors(tmp_path / "file" / "x.safetensors", {"a": np.ones(3, np.float32)})
    with pytest.raises(FileNotFoundError, match=r"absent/x"):
        write_safetensors(tmp_path / "absent" / "x", {"a": np.ones(3, np.float32)})


def test_replacing_cleans_up_after_any_error(tmp_path):
    def interrupted():
        with replacing(tmp_path / "x") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == []


def test_what_was_read_stays_when_the_file_is_replaced(tmp_path):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"a": np.ones(1000, np.float32), "none": np.ones((0, 3), np.float32)})
    stored = read_weights(path)
    write_safetensors(path, {"a": np.zeros(3, np.float32)})
    np.testing.assert_array_equal(stored["a"].float32("a"), np.ones(1000))
    assert stored["none"].shape == (0, 3)
    with pytest.raises(ValueError, match="read-only"):
        stored["a"].float32("a")[0] = 2
