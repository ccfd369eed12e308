"""The C tests of the core, under the address and undefined-behaviour sanitizers."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(sanitizers):
    """Run `make test` under sanitizers; its output."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    command = ["make", "-C", "csrc", "-j2", "test", f"SAN={sanitizers}"]
    done = subprocess.run(
        [*command, f"PYTHON={sys.executable}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout


def test_core_under_sanitizers():
    out = run("address,undefined")
    for source in (ROOT / "tests" / "c").glob("test_*.c"):
        assert f"ok   {source.stem}\n" in out


def test_threads_of_the_core():
    """ThreadSanitizer over what has threads of its own, with a stub of csrc/nn."""
    out = run("thread")
    for name in ("test_threads", "test_executor", "test_prepare", "test_inference"):
        assert f"ok   {name}\n" in out
