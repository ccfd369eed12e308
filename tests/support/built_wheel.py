"""The wheel and the sdist of this checkout, built once for all tests that need them."""

import fcntl
import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support import ROOT

# What would let an installed oneDNN, or this checkout, be found.
DROPPED = ("PYTHONPATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "ONEDNN_ROOT", "VIRTUAL_ENV")
# Folders that a Python built by hand, or a careless environment, would put into the library.
SCRATCH = "birdembed-scratch-"
POISON = {"LDFLAGS": "-L/poison/lib -Wl,-rpath,/poison/lib"}


def clean_environment(**more):
    kept = {key: value for key, value in os.environ.items() if key not in DROPPED}
    return {**kept, **more}


def run(*words, cwd, **environment):
    """Run a command; return its output, or fail with it."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@functools.cache
def tracked():
    """Return the names of the tracked files that are there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = listed.stdout.decode().split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


def copy_checkout(target):
    """Copy the tracked files, so that no earlier build is found."""
    for name in tracked():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    return target


def digest():
    """Name the sources that the wheel is made from, and the Python that makes it."""
    found = hashlib.sha256(sys.version.encode())
    for name in tracked():
        if not name.startswith((".", "tests/", "docs/", "notebooks/", "benchmarks/")):
            found.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    return found.hexdigest()[:16]


def make(checkout, output):
    """Run tools/make_wheel.sh in a checkout; return (wheel, sdist)."""
    for module in ("build", "auditwheel", "abi3audit"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: dependency group `wheel`")
    run("sh", "tools/make_wheel.sh", sys.executable, output, cwd=checkout, **POISON)
    (wheel,) = output.glob("*.whl")
    (sdist,) = output.glob("*.tar.gz")
    return wheel, sdist


@functools.cache
def built():
    """Return (wheel, sdist), from an earlier run where the sources are the same.

    BIRDEMBED_WHEEL names a wheel to be tested instead; then there is no sdist.
    """
    given = os.environ.get("BIRDEMBED_WHEEL")
    if given:
        return Path(given).resolve(strict=True), None
    kept = ROOT / "build" / "tested-wheel"
    kept.mkdir(parents=True, exist_ok=True)
    with open(kept / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        output = kept / digest()
        if not output.is_dir():
            for old in kept.iterdir():
                if old.is_dir():
                    shutil.rmtree(old)
            with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
                make(copy_checkout(Path(scratch) / "checkout"), kept / "partial")
            (kept / "partial").rename(output)
        (wheel,) = output.glob("*.whl")
        (sdist,) = output.glob("*.tar.gz")
        return wheel, sdist


ASK = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"


def find_python(version):
    """Return a Python of that version, pyenv's or the system's, that can make environments."""
    places = [sys.executable, *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    for candidate in [*places, f"python{version}"]:
        try:
            done = subprocess.run([str(candidate), "-c", ASK], capture_output=True, text=True)
        except OSError:
            continue
        if done.returncode == 0 and done.stdout.strip() == version:
            return str(candidate)
    pytest.skip(f"no Python {version} with ensurepip on this machine")
