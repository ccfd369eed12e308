"""`birdembed` as the installed script is; `birdembed serve` in the background, once it listens."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

COMMAND = [sys.executable, "-m", "birdembed.cli", *sys.argv[1:]]
LIMIT = 60  # seconds until it must listen


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def serve():
    words = sys.argv[1:]
    port = words[words.index("--port") + 1] if "--port" in words else "8000"
    said = tempfile.TemporaryFile("w+")
    server = subprocess.Popen(COMMAND, stdout=said, stderr=said)
    with open(os.environ["DOCS_PIDS"], "a") as file:
        print(server.pid, file=file)
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if server.poll() is not None:
            said.seek(0)
            sys.exit(f"birdembed serve ended with {server.returncode}: {said.read()}")
        if answers(port):
            return
        time.sleep(0.2)
    sys.exit(f"birdembed serve did not listen on port {port} within {LIMIT} seconds")


if sys.argv[1:2] == ["serve"] and "--help" not in sys.argv:
    serve()
else:
    os.execv(sys.executable, COMMAND)
