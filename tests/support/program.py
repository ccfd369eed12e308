"""Programs in processes of their own, which begin with a small model."""

import os
import subprocess
import sys
import textwrap

from tests.support import ROOT

TIMEOUT = 120

# Every program begins with this: a model of random weights on 32 px and what it gives.
START = """
import faulthandler, os, sys, threading, time
faulthandler.dump_traceback_later(100, exit=True)
{before}
import numpy as np
import birdembed as be
from tests.support import seeded

model = be.Model("resnet50", 3, preprocess=be.Preprocess(size=32))
pictures = seeded.pictures(9, 40, 40)
expected = model.encode(pictures)
same = lambda: np.array_equal(model.encode(pictures), expected)
"""


def environment(**changes):
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("OMP_", "GOMP_"))}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | changes


def program(text, before=""):
    return START.format(before=before) + textwrap.dedent(text)


def run(text, before="", **env):
    """Run a program to its end; its output."""
    done = subprocess.run(
        [sys.executable, "-c", program(text, before)],
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout
