"""The C tests of the core under sanitizers, with every case of those that take long."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.slow  # `make test` runs them with fewer cases


def run(sanitizers):
    """Run `make test` under sanitizers; its output."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    command = ["make", "-C", "csrc", "-j2", "test", f"SAN={sanitizers}"]
    done = subprocess.run(
        [*command, f"PYTHON={sys.executable}"],
        cwd=ROOT,
        env={**os.environ, "BIRDEMBED_EVERY_CASE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout


def test_core_under_sanitizers():
    out = run("address,undefined")
    folder = ROOT / "tests" / "c"
    for source in folder.glob("*/test_*.c"):
        assert f"ok   {source.relative_to(folder).with_suffix('')}\n" in out


def test_threads_of_the_core():
    """ThreadSanitizer over what has threads of its own, with a stub of csrc/nn."""
    out = run("thread")
    names = "base/test_threads base/test_executor image/test_prepare model/test_inference"
    for name in names.split():
        assert f"ok   {name}\n" in out
