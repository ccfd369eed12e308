"""Run other programs: pip, uv, apt-get, dpkg."""

from __future__ import annotations

import subprocess


def run(command: list[str]) -> tuple[int, str]:
    """Run a program; return its exit code and the end of its output."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
    except OSError as error:
        return 127, f"{command[0]}: {error.strerror}"
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return done.returncode, "\n".join(lines[-3:])
