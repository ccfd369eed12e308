"""Which of oneDNN's kernels a network runs: those of the kernel table (csrc/nn/conv_table.c)."""

import os
import re
import subprocess
import sys

import pytest

import birdembed as be
from birdembed import _core
from tests.support import ROOT

ONE_IMAGE = """
import sys
from tests.support import seeded
from tests.support.models import make_model

model = make_model("resnet50", 0)
model.precision = sys.argv[1]
model.forward_tensor(seeded.tensor(1, 1, 64, 64), num_threads=1)
"""


def kernels(precision, **environment):
    """Return the (kernel, input channels, output channels) of oneDNN's convolutions, in order."""
    env = os.environ | {"ONEDNN_VERBOSE": "1", "PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-c", ONE_IMAGE, precision]
    run = subprocess.run(command, env=env, check=True, timeout=300, capture_output=True, text=True)
    found = re.findall(r"exec,cpu,convolution,([^,]+),.*ic(\d+)oc(\d+)_ih", run.stdout)
    return [(name, int(c_in), int(c_out)) for name, c_in, c_out in found]


@pytest.mark.skipif("AVX512" not in be.info()["isa"], reason="AVX2 keeps oneDNN's first choices")
def test_wide_layers_in_float32():
    used = kernels("float32", BIRDEMBED_KERNELS="winograd4")
    wide = {name for name, c_in, c_out in used if c_out >= 1024 or c_in >= 2048}
    assert wide == {"jit_1x1:avx512_core"}


@pytest.mark.skipif("AMX" not in be.info()["isa"], reason="this processor has no AMX")
def test_amx_in_float32():
    """oneDNN keeps the first convolution and the 3x3 ones with a stride."""
    shapes = [shape for _, *shape in kernels("float32")]
    assert shapes == [[3, 64], [128, 128], [256, 256], [512, 512]]


@pytest.mark.skipif(not _core.backend()["bfloat16"], reason="this processor has no bfloat16")
def test_bfloat16():
    expected = "brgconv" if "AMX" in be.info()["isa"] else "jit_bf16"
    used = [name for name, *_ in kernels("bfloat16")]
    assert len(used) > 30
    assert all(name.startswith(expected) for name in used[1:])
