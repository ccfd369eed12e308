"""A short run of the fuzz targets; `make fuzz SECONDS=600` is a long one."""

import subprocess
import sys

import pytest

from tests.fuzz.__main__ import DECODERS, READERS, built
from tests.fuzz.watch import watched
from tests.support import ROOT


@pytest.mark.slow
def test_decoders(tmp_path):
    program = built("cc", "address,undefined", tmp_path)
    for target in DECODERS:
        command = [program, "1", "1", target, tmp_path / target]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr[-6000:]


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_readers(reader):
    code, text = watched("fuzz_readers.py", 1, reader, seconds=2, PYTHONPATH=str(ROOT))
    assert code == 0, text


def test_an_unknown_target():
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "1", "nonsense"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "no target 'nonsense'" in done.stderr
