"""Odd arguments for every entry point of the core: never anything but an exception."""

import os
import subprocess
import sys

import pytest

from tests.support import ROOT

FUZZ = ROOT / "tests" / "fuzz" / "fuzz_core.py"


def fuzz(seconds, seed, **environment):
    command = [sys.executable, "-X", "faulthandler", FUZZ, str(seconds), str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]


@pytest.mark.parametrize("seed", [1, 2])
def test_odd_arguments(seed):
    fuzz(5, seed)


@pytest.mark.slow
def test_odd_arguments_under_sanitizers(tmp_path):
    """Of the extension built anew: errors that an ordinary build survives by luck."""
    target = tmp_path / "birdembed"
    places = ["--build-temp", str(tmp_path / "objects"), "--build-lib", str(tmp_path)]
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--force", *places],
        cwd=ROOT,
        env={**os.environ, "BIRDEMBED_SANITIZE": "address,undefined"},
        check=True,
    )
    for path in (ROOT / "birdembed").iterdir():
        if not (target / path.name).exists():
            (target / path.name).symlink_to(path)
    asan = subprocess.run(
        ["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    options = "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=3000"
    fuzz(60, 3, LD_PRELOAD=asan, ASAN_OPTIONS=options, PYTHONPATH=str(tmp_path))
