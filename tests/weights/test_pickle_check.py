"""Test that a pickle cannot take memory or time beyond its size."""

import io
import pickle
import pickletools
import struct
import time
import tracemalloc

import numpy as np
import pytest

from birdembed import WeightsError
from birdembed.weights.pickle_check import check_pickle
from birdembed.weights.reading import read_weights
from birdembed.weights.torch_file import read_pth

HEAD = (
    pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    + pickle.dumps(1001, 2)
    + pickle.dumps({"little_endian": True}, 2)
)


def refused(tmp_path, body):
    """Return why a file is refused, within a second and without much memory."""
    path = tmp_path / "x.pth"
    path.write_bytes(body)
    tracemalloc.start()
    clock = time.process_time()
    try:
        with pytest.raises(WeightsError, match=r"x\.pth: ") as caught:
            read_pth(path)
        assert time.process_time() - clock < 2
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 1000
    return str(caught.value)


@pytest.mark.parametrize("put", [b"r" + struct.pack("<I", 1 << 27), b"p134217728\n", b"p-1\n"])
def test_slots_beyond_the_opcodes(tmp_path, put):
    assert "slot" in refused(tmp_path, b"\x80\x02}" + put + b".")


def nested(kind, depth):
    """Return opcodes that put something nested by doubling on the stack, and its slot."""
    ops = [b"]q\x00" if kind == "list" else b")q\x00"]
    for i in range(1, depth + 1):
        twice = b"h" + bytes([i - 1]) + b"h" + bytes([i - 1])
        ops.append(b"](" + twice + b"e" if kind == "list" else twice + b"\x86")
        ops.append(b"q" + bytes([i]))
    return b"".join(ops), depth


@pytest.mark.parametrize("kind", ["list", "tuple"])
@pytest.mark.parametrize("place", ["pid", "types", "key", "name", "dict key", "value", "size"])
def test_what_is_nested_by_doubling(tmp_path, kind, place):
    ops, slot = nested(kind, 60)
    get = b"h" + bytes([slot])
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + b"NK\x00" + get + get + b"tR"
    ends = {
        "pid": get + b"Q",
        "types": b"(X\x07\x00\x00\x00storage" + get + b"X\x01\x00\x00\x000NK\x01tQ",
        "key": b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + get + b"NK\x01tQ",
        "name": b"}" + get + b"Ns",
        "dict key": b"}" + get + b"K\x01s",
        "value": b"}X\x01\x00\x00\x00a" + get + b"s",
        "size": b"}X\x01\x00\x00\x00a" + tensor + b"s",
    }
    refused(tmp_path, HEAD + b"\x80\x02" + ops + ends[place] + b".")


@pytest.mark.parametrize("through", [b"ctorch\nSize\n", b"ctorch._utils\n_rebuild_parameter\n"])
def test_tuples_that_pass_through_a_call(tmp_path, through):
    ops = b")q\x00"
    for i in range(1, 60):
        twice = b"h" + bytes([i - 1]) + b"h" + bytes([i - 1]) + b"\x86"
        ops += through + twice + b"\x85R" + b"q" + bytes([i])
    refused(tmp_path, HEAD + b"\x80\x02}" + ops + b"K\x01s.")


@pytest.mark.parametrize(
    "body",
    [
        b"\x80\x02" + b"]" * 10_000 + b".",
        b"\x80\x02X\xff\xff\xff\xffabc.",
        b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"abc.",
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"abc.",
        b"\x80\x02L" + b"9" * 100_000 + b"L\n.",
        b"\x80\x02c" + b"a" * 100_000 + b"\nb\n.",
        b"\x80\x02}X\xa0\x86\x01\x00" + b"a" * 100_000 + b"Ns.",
        b"\x80\x02.",
        b"\x80\x020.",
        b"\x80",
    ],
)
def test_odd_pickles(tmp_path, body):
    refused(tmp_path, body)
    refused(tmp_path, HEAD + body)


@pytest.mark.parametrize("protocol", range(6))
def test_ordinary_pickles_pass(protocol):
    shared = tuple(range(50))
    values = [
        {f"layer{i}.weight": (shared, [shared] * 10, {"a": i, (i, "b"): None}) for i in range(300)},
        [1.5, "text", b"bytes", 1 << 200, -1, True, None, {1, 2}, frozenset({3, 4}), [[[]]]],
        np.arange(10.0),
    ]
    for value in values:
        body = pickle.dumps(value, protocol)
        check_pickle(io.BytesIO(body))
        check_pickle(io.BytesIO(pickletools.optimize(body)))


def test_a_name_too_long_for_a_message(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(b"\x80\x02X" + struct.pack("<I", 200_000) + b"a" * 200_000 + b".")
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    assert len(str(caught.value)) < 500
