"""Start `birdembed serve` for a benchmark, and send it single requests."""

from __future__ import annotations

import atexit
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping

from benchmarks.common import ROOT


def served(words: list[str], env: Mapping[str, str] | None = None) -> int:
    """Start a server with these arguments and return its port; it ends with this process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "birdembed.cli", "serve", "--port", str(port), *words]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=ROOT, env=env or os.environ)
    atexit.register(server.terminate)
    for _ in range(600):
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with code {server.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return port
    raise RuntimeError("the server does not listen")


def post(port: int, image: bytes, kind: str = "image/jpeg") -> tuple[int, bytes]:
    """Send an image to /embed on a new connection; return the status and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        connection.request("POST", "/embed", image, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def embedding(port: int, image: bytes) -> list[float]:
    """Return the vector that the server gives for an image.

    Raises
    ------
    RuntimeError
        The server refused it.
    """
    status, body = post(port, image)
    if status != 200:
        raise RuntimeError(f"status {status}: {body[:200]!r}")
    return list(json.loads(body)["embedding"])
