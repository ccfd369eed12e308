"""A small model with a gallery, an index of its pictures, and servers that really listen."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

import birdembed as be
from tests.support.ports import free_port
from tests.support.species import picture

Image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")
for name in ("fastapi", "uvicorn", "python_multipart"):
    pytest.importorskip(name, reason="needs the extra serve")
httpx = pytest.importorskip("httpx2", reason="needs httpx2 to ask the server")

from starlette.testclient import TestClient  # noqa: E402

from birdembed.serve import create_app  # noqa: E402
from tests.support.pictures import encode  # noqa: E402

SPECIES = ["DUNNOCK", "FIRECREST", "JAY"]


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Three species with four pictures each; beside them a file that is no business of anybody."""
    root = tmp_path_factory.mktemp("photos")
    (root / "secret.png").write_bytes(encode(picture(99, 0)))
    for i, name in enumerate(SPECIES):
        (root / "birds" / name).mkdir(parents=True)
        for number in range(4):
            picture(i, number, 400).save(root / "birds" / name / f"{number}.jpg", quality=95)
    return root / "birds"


@pytest.fixture(scope="session")
def bare():
    """A model without projection and gallery."""
    return be.Model("resnet50", seed=0, preprocess=be.Preprocess(size=64))


@pytest.fixture(scope="session")
def model(bare, photos):
    """The same, projected to what tells the pictures apart, with a gallery."""
    model = be.Model._of(dataclasses.replace(bare._current.pretrained()))
    data = be.ImageFolder(photos)
    model.fit_projection(data, method="lda", dim=2, shrinkage=0.3)
    model.fit_gallery(data)
    model.threshold = 0.9
    return model


@pytest.fixture(scope="session")
def index(model, photos):
    return be.Index.build(model, photos)


@pytest.fixture(scope="module")
def client(model, index):
    with TestClient(create_app(model, index)) as client:
        yield client


@pytest.fixture(scope="session")
def files(model, index, tmp_path_factory):
    """The folder of a saved model and the file of a saved index."""
    folder = tmp_path_factory.mktemp("saved")
    model.save_pretrained(folder / "model")
    index.save(folder / "birds.index")
    return folder


@pytest.fixture
def known(photos):
    """A picture of FIRECREST that is in no index, and its name."""
    return encode(picture(1, 77))


class Server:
    """`birdembed serve` in a process of its own, on a free port."""

    def __init__(self, *words, log):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        with open(log, "wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "birdembed.cli", "serve", "--port", str(self.port), *words],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=os.environ,
            )
        self._wait()

    def _wait(self):
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.said()
            with contextlib.suppress(urllib.error.URLError, OSError):
                with urllib.request.urlopen(self.url + "/health", timeout=10) as answer:
                    assert answer.status == 200
                    return
            time.sleep(0.05)
        raise AssertionError(f"no answer within 300 s: {self.said()}")

    def said(self):
        return self.log.read_text()

    def stop(self, how=signal.SIGTERM):
        """End it and return its exit code; standard output must have stayed empty."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        out, _ = self.process.communicate(timeout=120)
        assert out == b""
        return self.process.returncode


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start servers; all are ended after the test."""
    monkeypatch.setenv("BIRDEMBED_CACHE", str(tmp_path / "cache"))
    running = []

    def start(*words):
        running.append(Server(*map(str, words), log=tmp_path / f"server{len(running)}.log"))
        return running[-1]

    yield start
    for server in running:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


@pytest.fixture(scope="session")
def running(files, tmp_path_factory):
    """One server for all tests that only ask."""
    log = tmp_path_factory.mktemp("server") / "log"
    server = Server("--model", files / "model", "--index", files / "birds.index", log=log)
    yield server
    assert server.stop() == 0, server.said()


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    from tests.serve.chromium import launched

    browser = launched()
    yield browser
    browser.quit()


@pytest.fixture
def page(browser, running):
    """The page of the running server, as wide as on a desktop."""
    from tests.serve.chromium import text, wait, width

    width(browser, 1200)
    browser.get(running.url)
    wait(browser, lambda: text(browser, "facts"))
    return browser
