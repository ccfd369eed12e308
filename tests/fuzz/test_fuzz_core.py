"""Odd arguments for every entry point of the core: never anything but an exception."""

import os
import subprocess
import sys
import time

import pytest

from tests.fuzz import watch
from tests.support import ROOT


def fuzz(seconds, seed, **environment):
    code, text = watch.watched("fuzz_core.py", seed, seconds=seconds, **environment)
    assert code == 0, text


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_odd_arguments(seed):
    fuzz(5, seed, PYTHONPATH=str(ROOT))


def test_a_call_that_hangs_is_named(monkeypatch, tmp_path):
    (tmp_path / "hangs.py").write_text(
        "import sys, time\n"
        "from tests.fuzz import watch\n"
        "watch.note('short')\n"
        "watch.note(f'long {watch.described([1, None])}')\n"
        "time.sleep(100)\n"
    )
    monkeypatch.setattr(watch, "__file__", str(tmp_path / "watch.py"))
    start = time.monotonic()
    code, text = watch.watched("hangs.py", seconds=1, limit=3, PYTHONPATH=str(ROOT))
    assert code != 0
    assert time.monotonic() - start < 60
    assert "last call 2: long list(1, None)" in text
    assert 'hangs.py", line 5' in text


@pytest.mark.slow
def test_odd_arguments_under_sanitizers(tmp_path):
    """Of the extension built anew: errors that an ordinary build survives by luck."""
    target = tmp_path / "birdembed"
    places = ["--build-temp", str(tmp_path / "objects"), "--build-lib", str(tmp_path)]
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--force", "--parallel", "2", *places],
        cwd=ROOT,
        # Without optimisation, which takes longer than what it would speed up here.
        env={**os.environ, "BIRDEMBED_SANITIZE": "address,undefined", "BIRDEMBED_DEBUG": "1"},
        check=True,
    )
    for path in (ROOT / "birdembed").iterdir():
        if not (target / path.name).exists():
            (target / path.name).symlink_to(path)
    asan = subprocess.run(
        ["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    # For stacks that are kept after a return see csrc/Makefile.
    options = "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=3000"
    options += ":detect_stack_use_after_return=0"
    places = f"{tmp_path}{os.pathsep}{ROOT}"
    fuzz(10, 3, LD_PRELOAD=asan, ASAN_OPTIONS=options, PYTHONPATH=places)
