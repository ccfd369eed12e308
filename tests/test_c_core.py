"""The C tests of the core, under the address and undefined-behaviour sanitizers."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_core_under_sanitizers():
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    command = ["make", "-C", "csrc", "-j2", "test", "SAN=address,undefined"]
    done = subprocess.run(
        [*command, f"PYTHON={sys.executable}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    for source in (ROOT / "tests" / "c").glob("test_*.c"):
        assert f"ok   {source.stem}\n" in done.stdout
