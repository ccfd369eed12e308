"""The wheel, and the steps of the Dockerfile, in a system that holds next to nothing.

A Debian of its smallest kind with Python, made by debootstrap and entered with chroot: no compiler,
no headers, no libstb, no libgomp, and no way to the package index but a folder of wheels.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.support import built_wheel
from tests.support.built_wheel import ROOT, find_python, run
from tests.support.ports import free_port

sys.path.insert(0, str(ROOT / "tools"))
import dockerfile_in_chroot as chroot

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

WHEELHOUSE = "/wheelhouse"
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": WHEELHOUSE, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
FORBIDDEN = (
    *("usr/bin/gcc", "usr/bin/cc", "usr/include/stb", "usr/include/python3*"),
    "usr/lib/x86_64-linux-gnu/libgomp*",
)


@pytest.fixture(scope="module")
def minimal_root(tmp_path_factory):
    """Make the system once; it has what python:slim images have: /usr/local/bin/python and pip."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for debootstrap and chroot")
    if shutil.which("debootstrap") is None:
        pytest.skip("needs debootstrap")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let mount namespaces be made")
    root = tmp_path_factory.mktemp("minimal") / "root"
    done = subprocess.run(
        [
            "debootstrap",
            "--variant=minbase",
            "--include=python3,python3-venv",
            "bookworm",
            str(root),
        ],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"debootstrap made nothing: {done.stdout.strip().splitlines()[-1:]}")
    chroot.Stage(root).run(["python3", "-m", "venv", "/usr/local"])
    yield root
    shutil.rmtree(root.parent)


@pytest.fixture(scope="module")
def wheel():
    return built_wheel.built()[0]


def extras(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        text = archive.read(name).decode()
    return {line.split(": ")[1] for line in text.splitlines() if line.startswith("Provides-Extra")}


def add_wheelhouse(root, wheel, extra=None):
    """Put the wheel and all that it requires where the system's pip looks for them."""
    stage = chroot.Stage(root)
    version = subprocess.run(
        ["chroot", str(root), "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    place = stage.place(WHEELHOUSE)
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    run(
        *(find_python(version), "-m", "pip", "download", "-q", "--only-binary=:all:"),
        *("-d", place, wanted),
        cwd=root,
    )


def test_nothing_is_there_that_helps(minimal_root):
    assert not [str(p) for name in FORBIDDEN for p in minimal_root.glob(name)]


def test_the_wheel_works(minimal_root, wheel):
    add_wheelhouse(minimal_root, wheel)
    stage = chroot.Stage(minimal_root)
    shutil.copy(ROOT / "tests" / "support" / "wheel_smoke.py", minimal_root / "wheel_smoke.py")
    stage.run(["/usr/local/bin/python", "-m", "venv", "/alone"])
    stage.run(["/alone/bin/python", "-m", "pip", "install", "birdembed"], **OFFLINE)
    (minimal_root / "smoke").mkdir()
    stage.run(["/alone/bin/python", "/wheel_smoke.py", "/smoke", "--alone"])
    stage.run(["/alone/bin/birdembed", "info"])
    assert not [str(p) for name in FORBIDDEN for p in minimal_root.glob(name)]


@contextlib.contextmanager
def started(stage, words, log):
    """Run what a container would; end it and what it started."""
    with open(log, "w") as output:
        process = subprocess.Popen(
            stage.command_line(words),
            env=stage.variables(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answer(url, process, log, seconds=120):
    """Ask until there is an answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + seconds
    while True:
        try:
            with opener.open(url, timeout=10) as response:
                return json.load(response)
        except OSError:
            assert process.poll() is None, Path(log).read_text()
            assert time.monotonic() < end, Path(log).read_text()
            time.sleep(0.5)


def test_the_steps_of_the_dockerfile(minimal_root, wheel, tmp_path):
    """They end in a server that answers, run by somebody who is not root."""
    dockerfile = ROOT / "Dockerfile"
    if not dockerfile.is_file() or "serve" not in extras(wheel):
        pytest.skip("no Dockerfile, or a wheel without the extra `serve`")
    context = built_wheel.copy_checkout(tmp_path / "context")
    (context / "dist").mkdir()
    shutil.copy(wheel, context / "dist")
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", str(minimal_root), str(root)], check=True)
    add_wheelhouse(root, wheel, "serve")

    stage = chroot.follow(context / "Dockerfile", root, context, **OFFLINE)
    assert not [str(p) for name in FORBIDDEN for p in root.glob(name)]
    account, _ = stage.account()
    assert account.split(":")[0] != "0"
    port = free_port()
    words = [*stage.process(), "--port", str(port)]
    health = [word.replace(":8000", f":{port}") for word in stage.health]
    with started(stage, words, tmp_path / "log") as process:
        told = answer(f"http://127.0.0.1:{port}/health", process, tmp_path / "log")
        assert told["status"] == "ok"
        stage.run(health)
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert f"Uid:\t{account.split(':')[0]}\t" in status
    with pytest.raises(chroot.DockerfileError):
        stage.run(health)
    shutil.rmtree(root)
