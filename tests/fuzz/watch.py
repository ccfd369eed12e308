"""A watch over a fuzz target: the call that hangs, or with which the process dies, is named.

The target writes each call into a file before it makes it (`note`); whoever runs the target reads
that file (`watched`).
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CALL_LIMIT = 60.0
"""Seconds that one call may take, on a machine that has other work too."""

STACK = "1M"
"""Stack of a thread of OpenMP. A target limits its address space, and 1,024 threads with stacks of
8 MB take half of it: whether all of them start then depends on what else is in memory."""

PLACE = "FUZZ_NOTE"
WIDTH = 1000

_count = 0
_file = os.open(os.environ[PLACE], os.O_WRONLY) if PLACE in os.environ else -1


def note(text):
    """Write down what is done next."""
    global _count
    _count += 1
    if _file >= 0:
        line = f"{_count}: {text}".encode("utf-8", "backslashreplace")[:WIDTH]
        os.pwrite(_file, line.ljust(WIDTH), 0)


def described(value):
    """Return a line about an argument: of arrays their kind and shape."""
    if hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    if type(value) in (list, tuple):
        more = ", ..." if len(value) > 8 else ""
        return f"{type(value).__name__}({', '.join(map(described, value[:8]))}{more})"
    return ascii(value)[:80]


def _stacks_of(process):
    """Let the process, which runs with faulthandler, print where its threads are, and end it."""
    process.send_signal(signal.SIGABRT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def watched(target, *args, seconds, limit=CALL_LIMIT, **environment):
    """Run a target of this folder. Return (exit code, what it printed and did last)."""
    command = [sys.executable, "-X", "faulthandler", Path(__file__).with_name(target)]
    with tempfile.NamedTemporaryFile() as noted, tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            [*command, str(seconds), *map(str, args)],
            env={**os.environ, "OMP_STACKSIZE": STACK, **environment, PLACE: noted.name},
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
        now = since = time.monotonic()
        last, end, why = b"", now + seconds + 2 * limit, ""
        while process.poll() is None:
            time.sleep(0.2)
            now, line = time.monotonic(), Path(noted.name).read_bytes()
            if line != last:
                last, since = line, now
            if now - since > limit or now > end:
                why = f"stopped: {now - since:.0f} s in one call\n"
                _stacks_of(process)
        printed.seek(0)
        text = printed.read().decode(errors="replace")
    return process.returncode, f"{text[-8000:]}\n{why}last call {last.decode().rstrip()}\n"
