"""The wheel in clean environments of every Python it is for, and the other ways to install."""

import shutil
import sys

import pytest

from tests.support import built_wheel
from tests.support.built_wheel import ROOT, find_python, run

pytestmark = pytest.mark.slow

SMOKE = ROOT / "tests" / "support" / "wheel_smoke.py"
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
# What pyproject.toml declares, or where that has no wheels for a Python, the first that has.
OLDEST = {
    "3.13": ("numpy==2.1.0", "safetensors==0.4.4", "tqdm==4.60.0"),
    None: ("numpy==1.26.0", "safetensors==0.4.3", "tqdm==4.60.0"),
}
NEWEST = ("numpy", "safetensors", "tqdm")


@pytest.fixture(scope="module")
def wheel():
    return built_wheel.built()[0]


@pytest.fixture(scope="module", params=VERSIONS)
def environment(request, wheel, tmp_path_factory):
    """Return (version, Python of an environment with the wheel alone)."""
    folder = tmp_path_factory.mktemp("environment")
    run(find_python(request.param), "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", wheel, cwd=folder)
    yield request.param, python
    shutil.rmtree(folder)


@pytest.mark.parametrize("requirements", ["newest", "oldest"])
def test_it_works_with(environment, requirements, tmp_path):
    version, python = environment
    wanted = NEWEST if requirements == "newest" else OLDEST.get(version, OLDEST[None])
    run(python, "-m", "pip", "install", "-q", "--upgrade", *wanted, cwd=tmp_path)
    told = run(python, SMOKE, tmp_path, "--alone", cwd=tmp_path)
    assert f"Python {version}." in told
    if requirements == "oldest":
        assert "NumPy {}".format(wanted[0].split("==")[1]) in told
    assert "onednn" in run(python.parent / "birdembed", "info", cwd=tmp_path)


@pytest.mark.parametrize("source", ["checkout", "sdist"])
def test_plain_pip_install(source, tmp_path):
    """Under build isolation, as a person would type it: a compiler and libstb-dev suffice."""
    given = built_wheel.copy_checkout(tmp_path / "checkout")
    if source == "sdist":
        given = built_wheel.built()[1]
        if given is None:
            pytest.skip("BIRDEMBED_WHEEL names a wheel alone")
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", given, cwd=tmp_path)
    run(python, SMOKE, tmp_path, "--alone", cwd=tmp_path)


def test_two_builds_give_the_same_wheel(tmp_path):
    """Another folder, another umask, another time: the same bytes."""
    first, sdist = built_wheel.built()
    if sdist is None:
        pytest.skip("BIRDEMBED_WHEEL names a wheel alone")
    checkout = built_wheel.copy_checkout(tmp_path / "another folder" / "deeper")
    for path in checkout.rglob("*.py"):
        path.chmod(0o660)
    second, _ = built_wheel.make(checkout, tmp_path / "output")
    assert second.name == first.name
    assert second.read_bytes() == first.read_bytes()
