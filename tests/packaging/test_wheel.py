"""The wheel and the sdist: what is in them, and that no machine shows through.

What needs a wheel is slow: making one compiles the core once more.

That the wheel works where nothing else is installed: test_wheel_installed.py, test_minimal_root.py.
"""

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support import built_wheel
from tests.support.built_wheel import ROOT, run

BUNDLED = ("libdnnl.so.3", "libgomp.so.1")


@pytest.fixture(scope="module")
def wheel():
    return built_wheel.built()[0]


@pytest.fixture(scope="module")
def sdist():
    found = built_wheel.built()[1]
    if found is None:
        pytest.skip("BIRDEMBED_WHEEL names a wheel alone")
    return found


@pytest.fixture(scope="module")
def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


@pytest.fixture(scope="module")
def libraries(contents, tmp_path_factory):
    """Return the shared libraries of the wheel as files."""
    if shutil.which("readelf") is None:
        pytest.skip("needs readelf")
    folder = tmp_path_factory.mktemp("libraries")
    found = {}
    for name, data in contents.items():
        if ".so" in Path(name).name:
            found[Path(name).name] = folder / Path(name).name
            found[Path(name).name].write_bytes(data)
    return found


@pytest.mark.slow
def test_one_wheel_for_every_python_with_the_tag_that_auditwheel_allows(wheel):
    match = re.fullmatch(
        r"birdembed-[\w.]+-cp310-abi3-(manylinux_2_\d+_x86_64)(\.\w+)*\.whl", wheel.name
    )
    assert match, wheel.name
    pytest.importorskip("auditwheel")
    shown = run(sys.executable, "-m", "auditwheel", "show", wheel, cwd=wheel.parent)
    allowed = re.search(r'following platform tag:\s+"(\w+)"', shown)
    assert allowed, shown
    assert allowed.group(1) == match.group(1)


@pytest.mark.slow
def test_the_stable_interface_and_nothing_beyond(wheel):
    pytest.importorskip("abi3audit")
    report = run(sys.executable, "-m", "abi3audit", "--strict", "--report", wheel, cwd=wheel.parent)
    ((spec,),) = [list(json.loads(report)["specs"].values())]
    (core,) = spec["wheel"]
    assert core["name"] == "_core.abi3.so"
    result = core["result"]
    assert (result["is_abi3"], result["baseline"], result["computed"]) == (True, "3.10", "3.10")
    assert not result["non_abi3_symbols"]


@pytest.mark.slow
def test_it_is_small(wheel):
    """Weights come on top."""
    with zipfile.ZipFile(wheel) as archive:
        weights = sum(
            info.compress_size
            for info in archive.infolist()
            if info.filename.startswith("birdembed/pretrained/bundled/")
        )
    assert wheel.stat().st_size - weights < 20e6


@pytest.mark.slow
def test_it_holds_what_it_needs_and_nothing_else(contents):
    for wanted in (
        "birdembed/_core.abi3.so",
        "birdembed/_lib/LICENSE.onednn",
        "birdembed/_lib/THIRD-PARTY-PROGRAMS.onednn",
        "birdembed/py.typed",
        "birdembed/_core.pyi",
        "birdembed/cli/__init__.py",
        *(f"birdembed/_lib/{name}" for name in BUNDLED),
    ):
        assert wanted in contents
    folders = {name.split("/")[0] for name in contents}
    assert folders == {"birdembed", next(f for f in folders if f.endswith(".dist-info"))}
    assert any(name.endswith("licenses/THIRD_PARTY.md") for name in contents)


@pytest.mark.slow
def test_each_library_is_in_it_once(contents):
    """The oneDNN packages hold three copies of 54 MB."""
    shared = [name for name in contents if ".so" in Path(name).name]
    assert sorted(Path(name).name for name in shared) == sorted(["_core.abi3.so", *BUNDLED])
    large = [data for data in contents.values() if len(data) > 100_000]
    assert len(large) == len(set(large))


@pytest.mark.slow
def test_the_libraries_are_those_of_their_packages(contents):
    """THIRD_PARTY.md says `unchanged`: no tool has rewritten what lies in the wheel."""
    try:
        files = importlib.metadata.distribution("onednn-cpu-gomp").files
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs onednn-cpu-gomp")
    (source,) = {f.locate().resolve() for f in files if str(f).endswith("/libdnnl.so.3")}
    assert contents["birdembed/_lib/libdnnl.so.3"] == source.read_bytes()


@pytest.mark.slow
def test_every_tracked_file_of_the_package_is_in_it(contents):
    """A new folder that pyproject.toml does not name would be left out in silence."""
    here = {name for name in built_wheel.tracked() if name.startswith("birdembed/")}
    assert here
    assert here <= set(contents)


@pytest.mark.slow
def test_it_asks_for_three_packages(contents):
    (name,) = [name for name in contents if name.endswith(".dist-info/METADATA")]
    required = re.findall(r"^Requires-Dist: (.*)$", contents[name].decode(), re.MULTILINE)
    base = {re.match(r"[\w-]+", line).group() for line in required if "extra ==" not in line}
    assert base == {"numpy", "safetensors", "tqdm"}


@pytest.mark.slow
def test_core_exports_its_entry_alone(libraries, tmp_path):
    symbols = run("readelf", "--dyn-syms", "--wide", libraries["_core.abi3.so"], cwd=tmp_path)
    defined = {
        line.split()[7]
        for line in symbols.splitlines()
        if len(line.split()) == 8
        and line.split()[3] in ("FUNC", "OBJECT")
        and line.split()[6] != "UND"
    }
    assert defined == {"PyInit__core"}


@pytest.mark.slow
def test_core_is_hardened(libraries, tmp_path):
    """Stack protector, checked string functions, and tables of addresses that are read-only."""
    core = libraries["_core.abi3.so"]
    dynamic = run("readelf", "--dynamic", "--wide", core, cwd=tmp_path)
    assert re.search(r"\(FLAGS_1\).*\bNOW\b", dynamic)
    segments = run("readelf", "--segments", "--wide", core, cwd=tmp_path)
    assert "GNU_RELRO" in segments
    assert re.search(r"GNU_STACK.* RW +0x", segments)  # not executable
    symbols = run("readelf", "--dyn-syms", "--wide", core, cwd=tmp_path)
    assert "__stack_chk_fail" in symbols
    assert {"__vsnprintf_chk", "__memcpy_chk"} <= set(re.findall(r"__\w+_chk", symbols))


@pytest.mark.slow
def test_libraries_are_looked_for_beside_the_module_only(libraries, tmp_path):
    paths = {}
    needed = {}
    for name, path in libraries.items():
        dynamic = run("readelf", "--dynamic", "--wide", path, cwd=tmp_path)
        paths[name] = re.findall(r"R(?:UN)?PATH.*\[(.*)\]", dynamic)
        needed[name] = re.findall(r"NEEDED.*\[(.*)\]", dynamic)
    assert paths == {"_core.abi3.so": ["$ORIGIN/_lib"], "libdnnl.so.3": [], "libgomp.so.1": []}
    # oneDNN finds libgomp because it is loaded already.
    assert [name for name in needed["_core.abi3.so"] if name in BUNDLED] == [*BUNDLED[::-1]]


@pytest.mark.slow
def test_no_machine_shows_through(contents):
    """Neither where it was built, nor by whom, nor the folders of the Python that built it."""
    places = [ROOT, Path.home(), sys.prefix, sys.base_prefix]
    places = {str(place).encode() for place in places if len(Path(place).parts) > 1} - {b"/usr"}
    places |= {b"/poison", b"pip-build-env", built_wheel.SCRATCH.encode()}
    wrong = [
        f"{name}: {place.decode()}"
        for name, data in contents.items()
        for place in places
        if place in data
    ]
    assert not wrong, "\n".join(wrong)
    absolute = re.compile(rb"/(?:tmp|home|root|var|opt|mnt|builds?)/[\w.+-]+/[\w./+-]+")
    assert not absolute.findall(contents["birdembed/_core.abi3.so"])


@pytest.mark.slow
def test_sdist_builds_and_holds_nothing_built(sdist):
    """That the wheel was made from the sdist alone shows that it is complete."""
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    tracked = set(built_wheel.tracked())
    for wanted in ("setup.py", "pyproject.toml", "THIRD_PARTY.md", "csrc/python/glue.h"):
        assert wanted in names
    assert {name for name in tracked if name.startswith(("csrc/", "birdembed/"))} <= names
    built = [name for name in names if re.search(r"\.(so|py[cod]|o|a)(\.\d+)*$", name)]
    assert not built


def test_weights_of_the_package_go_into_both(tmp_path):
    """What lies in birdembed/pretrained/bundled/NAME/ is part of the package."""
    checkout = built_wheel.copy_checkout(tmp_path / "checkout")
    files = [
        f"birdembed/pretrained/bundled/sample/{n}" for n in ("config.json", "model.safetensors")
    ]
    for name in files:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_bytes(b"x")
    # Left behind by an earlier build in place.
    left = checkout / "birdembed" / "_lib" / "libold.so.1"
    left.parent.mkdir()
    left.write_bytes(b"x")
    run(
        *(sys.executable, "setup.py", "-q", "sdist", "--dist-dir", tmp_path / "dist"),
        *("build_py", "--build-lib", tmp_path / "lib"),
        cwd=checkout,
    )
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    for name in files:
        assert name in names
        assert (tmp_path / "lib" / name).is_file()
    assert not [name for name in names if "libold" in name]
    assert not list((tmp_path / "lib").rglob("libold*"))


def refused(words, prepare="pass", **environment):
    """Return what setup.py says when it stops."""
    program = (
        "import os, runpy, sys, sysconfig, setuptools.command.build_ext\n"
        "import setuptools.command.bdist_wheel\n"
        f"{prepare}; sys.argv = ['setup.py', *{words!r}]\n"
        "runpy.run_path('setup.py', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=built_wheel.clean_environment(**environment),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def test_missing_stb_is_explained(tmp_path):
    told = refused(
        ["-q", "build_ext", "--build-lib", str(tmp_path / "lib"), "--build-temp", str(tmp_path)],
        STB_IMAGE_INCLUDE=str(tmp_path),
    )
    assert "libstb-dev" in told
    assert "STB_IMAGE_INCLUDE" in told


def test_free_threaded_python_is_refused():
    prepare = "sysconfig.get_config_vars()['Py_GIL_DISABLED'] = 1"
    assert "free-threaded" in refused(["--version"], prepare)


@pytest.mark.parametrize("prepare", ["sys.platform = 'darwin'", "os.uname = Other"])
def test_other_machines_are_refused(prepare):
    other = "Other = type('Other', (), {'machine': 'aarch64'}); "
    assert "Linux on x86-64" in refused(["--version"], other + prepare)


def test_the_workflow_makes_the_same_wheel():
    """What a container image does is written in pyproject.toml; what it leaves alone, twice."""
    yaml = pytest.importorskip("yaml")
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    settings = tomllib.loads(text)["tool"]["cibuildwheel"]
    assert settings["manylinux-x86_64-image"] == "manylinux_2_28"
    excluded = re.findall(r"--exclude (\S+)", " ".join(settings["linux"]["repair-wheel-command"]))
    local = re.findall(r"--exclude (\S+)", (ROOT / "tools/make_wheel.sh").read_text("utf-8"))
    assert sorted(excluded) == sorted(local) == sorted(BUNDLED)
    workflow = yaml.safe_load((ROOT / ".github/workflows/wheels.yml").read_text("utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert any("cibuildwheel" in step.get("uses", "") for step in steps)
    script = "\n".join(step.get("run", "") for step in steps) + str(settings)
    named = set(re.findall(r"\btests/[\w/]+\.py|\btools/\w+\.\w+", script))
    assert "tests/support/wheel_smoke.py" in named
    for name in named:
        assert (ROOT / name).is_file(), name
