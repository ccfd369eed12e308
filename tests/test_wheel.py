"""The wheel: what is in it, how large it is, and that it works where nothing else is installed."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Prints the shared libraries that the process took oneDNN and OpenMP from.
PROBE = """
import numpy as np
import birdembed as be
model = be.Model("resnet50", num_classes=0, seed=0)
x = np.zeros((1, 3, 224, 224), np.float32)
assert model.forward_tensor(x).shape == (1, 2048)
for line in open("/proc/self/maps"):
    if "libgomp" in line or "libdnnl" in line:
        print(line.split()[-1])
"""


def clean_environment():
    """Leave out what would let an installed oneDNN, or this checkout, be found."""
    dropped = ("PYTHONPATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "ONEDNN_ROOT", "VIRTUAL_ENV")
    return {key: value for key, value in os.environ.items() if key not in dropped}


def run(*words, cwd):
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the tracked files, so that no earlier build is found."""
    target = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    run(
        *(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"),
        *("-w", folder, "."),
        cwd=checkout,
    )
    (found,) = folder.glob("*.whl")
    return found


def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_one_wheel_for_every_python(wheel):
    assert re.fullmatch(
        r"birdembed-[\w.]+-cp310-abi3-(linux|manylinux[\w.]*)_x86_64\.whl", wheel.name
    )


def test_it_is_small(wheel):
    with zipfile.ZipFile(wheel) as archive:
        weights = sum(
            info.compress_size
            for info in archive.infolist()
            if info.filename.endswith(".safetensors")
        )
    assert wheel.stat().st_size - weights < 20e6


def test_it_holds_what_it_needs_and_nothing_else(wheel):
    found = names(wheel)
    for wanted in (
        "birdembed/_core.abi3.so",
        "birdembed/_lib/libdnnl.so.3",
        "birdembed/_lib/libgomp.so.1",
        "birdembed/_lib/LICENSE.onednn",
        "birdembed/_lib/THIRD-PARTY-PROGRAMS.onednn",
        "birdembed/py.typed",
        "birdembed/cli/__init__.py",
    ):
        assert wanted in found
    folders = {name.split("/")[0] for name in found}
    assert folders == {"birdembed", next(f for f in folders if f.endswith(".dist-info"))}
    assert any(name.endswith("licenses/THIRD_PARTY.md") for name in found)


def test_every_python_file_is_in_it(wheel):
    """A new folder that pyproject.toml does not name would be left out in silence."""
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "birdembed").rglob("*.py")}
    assert here <= set(names(wheel))


def test_core_exports_its_entry_and_names_no_place(wheel, tmp_path):
    if shutil.which("readelf") is None:
        pytest.skip("needs readelf")
    with zipfile.ZipFile(wheel) as archive:
        core = archive.extract("birdembed/_core.abi3.so", tmp_path)
    symbols = run("readelf", "--dyn-syms", "--wide", core, cwd=tmp_path)
    defined = {
        line.split()[7]
        for line in symbols.splitlines()
        if len(line.split()) == 8
        and line.split()[3] in ("FUNC", "OBJECT")
        and line.split()[6] != "UND"
    }
    assert defined == {"PyInit__core"}
    dynamic = run("readelf", "--dynamic", "--wide", core, cwd=tmp_path)
    (path,) = re.findall(r"R(?:UN)?PATH.*\[(.*)\]", dynamic)
    assert path == "$ORIGIN/_lib"
    assert str(ROOT).encode() not in Path(core).read_bytes()


def pythons():
    """Return the Pythons of this machine that the wheel is for, this one first."""
    found = [sys.executable]
    here = "%d.%d" % sys.version_info[:2]  # noqa: UP031
    for version in ("3.10", "3.11", "3.12", "3.13"):
        if version == here:
            continue
        places = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
        for candidate in [*places, f"python{version}"]:
            try:
                done = subprocess.run(
                    [str(candidate), "-c", "import ensurepip, sys; print(sys.version_info[1])"],
                    capture_output=True,
                    text=True,
                )
            except OSError:
                continue
            if done.returncode == 0 and done.stdout.strip() == version[2:]:
                found.append(str(candidate))
                break
    return found


@pytest.mark.slow
@pytest.mark.parametrize("python", pythons())
def test_it_works_in_a_fresh_environment(wheel, tmp_path, python):
    run(python, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    inside = tmp_path / "venv" / "bin" / "python"
    run(inside, "-m", "pip", "install", "-q", wheel, cwd=tmp_path)
    libraries = set(run(inside, "-c", PROBE, cwd=tmp_path).split())
    assert {Path(name).name for name in libraries} == {"libdnnl.so.3", "libgomp.so.1"}
    # Its own copies, not the system's.
    assert {Path(name).parent.name for name in libraries} == {"_lib"}
    shown = run(tmp_path / "venv" / "bin" / "birdembed", "info", cwd=tmp_path)
    assert "onednn" in shown


@pytest.mark.slow
def test_plain_pip_install(checkout, tmp_path):
    """Under build isolation, as a person would type it."""
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    inside = tmp_path / "venv" / "bin" / "python"
    run(inside, "-m", "pip", "install", "-q", ".", cwd=checkout)
    run(inside, "-c", PROBE, cwd=tmp_path)


def test_missing_stb_is_explained(checkout, tmp_path):
    environment = {**clean_environment(), "STB_IMAGE_INCLUDE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(tmp_path / "lib")],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "libstb-dev" in done.stderr
    assert "STB_IMAGE_INCLUDE" in done.stderr
