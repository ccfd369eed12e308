"""The JSON service: many clients at once, beside the same photographs encoded without it."""

from __future__ import annotations

import atexit
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench_embed import export
from benchmarks.common import Result, Settings, Work, compare, relative_l2
from benchmarks.pictures import photographs

COUNT = 96
CLIENTS = 32


def _served(options: dict[str, Any], clients: int) -> Work:
    import birdembed.serve  # noqa: F401  (ImportError where the extra is missing)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "birdembed.cli", "serve", "--port", str(port)]
    command += ["--model", options["model"], "--threads", str(options["threads"])]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    atexit.register(server.terminate)
    _wait(port, server)
    data = [Path(path).read_bytes() for path in options["paths"]]

    def ask(image: bytes) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("POST", "/embed", image, {"Content-Type": "image/jpeg"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"status {answer.status}: {body[:200]!r}")
        return list(json.loads(body)["embedding"])

    pool = ThreadPoolExecutor(clients)
    return lambda: np.asarray(list(pool.map(ask, data)), np.float32)


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with code {server.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the server does not listen")


def many(options: dict[str, Any]) -> Work:
    return _served(options, CLIENTS)


def one(options: dict[str, Any]) -> Work:
    return _served(options, 1)


def without(options: dict[str, Any]) -> Work:
    import birdembed as be

    model = be.load_model(options["model"])
    data = [Path(path).read_bytes() for path in options["paths"]]
    return lambda: model.encode(data, show_progress_bar=False)


CONTENDERS = {
    "birdembed": many,
    "birdembed, one client": one,
    "Model.encode, no server": without,
}


def main(settings: Settings) -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        paths, what = photographs(COUNT, Path(folder))
        result = compare(
            f"{COUNT} requests to /embed from {CLIENTS} clients at once",
            __name__,
            list(CONTENDERS),
            {**export(Path(folder)), "paths": paths},
            settings,
            amount=COUNT,
            check=relative_l2(0),  # the very same numbers
        )
    result.notes.append(what)
    return [result]
