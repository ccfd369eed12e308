"""Run the steps of a Dockerfile in a folder with a Debian system, without a Docker engine.

    python tools/dockerfile_in_chroot.py DOCKERFILE ROOT [--context DIR] [--env NAME=VALUE]
                                         [--start]

ROOT is used for every image in FROM (it must have Python as /usr/local/bin/python, like the
python:slim images) and is changed by the steps. Needs root for chroot. --env is only set in RUN
steps (for example, where pip finds wheels). --start runs the command of the container as its user.

Stages before the last are built in copies next to ROOT. Supported: FROM, ARG, ENV, WORKDIR, RUN,
USER, COPY (with --from, --chown, --chmod), HEALTHCHECK, ENTRYPOINT, CMD; EXPOSE, LABEL, VOLUME and
STOPSIGNAL are ignored. Any other instruction is an error.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IGNORED = ("EXPOSE", "LABEL", "VOLUME", "STOPSIGNAL")
HEALTH = ("interval", "timeout", "start-period", "start-interval", "retries")
VARIABLE = re.compile(r"\\\$|\$(?:(\w+)|\{(\w+)(?::([-+])([^}]*))?\})")
# In a separate mount namespace, so that /proc is unmounted when the command ends.
ENTER = 'mount -t proc proc "$1/proc" && shift && exec "$@"'


class DockerfileError(Exception):
    """A Dockerfile that is not supported, or a step that failed."""


@dataclass
class Stage:
    """An image while it is built."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    arguments: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "root"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def expand(self, text: str) -> str:
        """Insert ARG and ENV values; in RUN the shell does it."""
        known = {**self.arguments, **self.environment}

        def value(match: re.Match[str]) -> str:
            if match.group() == r"\$":
                return "$"
            name, sign, word = match[1] or match[2], match[3], match[4] or ""
            if sign == "+":
                return word if known.get(name) else ""
            return known.get(name) or (word if sign == "-" else known.get(name, ""))

        return VARIABLE.sub(value, text)

    def place(self, path: str) -> Path:
        """Return the path outside the image for a path inside it."""
        inside = os.path.normpath(os.path.join(self.folder, path))
        return self.root / inside.lstrip("/")

    def account(self) -> tuple[str, str]:
        """Return ("uid:gid", home) of the user, from the passwd and group files of the image."""
        user, _, group = self.user.partition(":")
        uid, gid, home = user, group or "0", "/"
        for line in (self.root / "etc/passwd").read_text(encoding="utf-8").splitlines():
            entry = line.split(":")
            if user in (entry[0], entry[2]):
                uid, gid, home = entry[2], group or entry[3], entry[5]
        for line in (self.root / "etc/group").read_text(encoding="utf-8").splitlines():
            if line.split(":")[0] == group:
                gid = line.split(":")[2]
        if not (uid.isdigit() and gid.isdigit()):
            raise DockerfileError(f"USER {self.user}: no such account in the image")
        return f"{uid}:{gid}", home

    def command_line(self, words: list[str]) -> list[str]:
        """Return the command line that runs a command inside, as the user and in the folder."""
        account, _ = self.account()
        enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, "enter"]
        inside = 'cd "$1" && shift && exec "$@"'
        return [
            *enter,
            *(str(self.root), "chroot", f"--userspec={account}", "--groups=", str(self.root)),
            *("/bin/sh", "-c", inside, "sh", self.folder, *words),
        ]

    def variables(self, **more: str) -> dict[str, str]:
        """Return the complete environment of a process inside."""
        return {"HOME": self.account()[1], **self.environment, **more}

    def run(self, words: list[str], **more: str) -> None:
        """Run a command inside; if it fails, raise an error with its output."""
        done = subprocess.run(
            self.command_line(words),
            env=self.variables(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if done.returncode:
            raise DockerfileError(
                f"{shlex.join(words)}: exit code {done.returncode}\n{done.stdout[-4000:]}"
            )

    def process(self) -> list[str]:
        """Return the command that the container would run."""
        if not self.entrypoint + self.command:
            raise DockerfileError("no ENTRYPOINT and no CMD")
        return self.entrypoint + self.command


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the (WORD, rest) of a Dockerfile without comments, with continued lines joined."""
    joined, line = [], ""
    for raw in text.splitlines():
        if raw.lstrip().startswith("#"):
            continue
        line += raw
        if line.rstrip().endswith("\\"):
            line = line.rstrip()[:-1]
            continue
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            joined.append((word.upper(), rest.strip()))
        line = ""
    return joined


def words_of(rest: str) -> list[str]:
    """Return a command: a JSON list unchanged, anything else run by the shell."""
    return json.loads(rest) if rest.startswith("[") else ["/bin/sh", "-c", rest]


def flags_of(rest: str) -> tuple[dict[str, str], str]:
    """Split off leading --name=value flags."""
    flags = {}
    while match := re.match(r"--([\w-]+)(?:=(\S+))?\s+", rest):
        flags[match[1]] = match[2] or ""
        rest = rest[match.end() :]
    return flags, rest


def copy(stage: Stage, sources: Path, rest: str, flags: dict[str, str]) -> None:
    """Run a COPY of files, folders (their contents) and name patterns."""
    words = json.loads(rest) if rest.startswith("[") else shlex.split(rest)
    *given, target = (stage.expand(word) for word in words)
    found: list[Path] = []
    for pattern in given:
        matches = sorted(sources.glob(pattern.strip("/") or "."))
        if not matches:
            raise DockerfileError(f"COPY {pattern}: no such file")
        found += matches
    place = stage.place(target)
    if target.endswith("/") or len(found) > 1:
        place.mkdir(parents=True, exist_ok=True)
    for path in found:
        if path.is_dir():
            shutil.copytree(path, place, dirs_exist_ok=True, symlinks=True)
            changed = place
        else:
            changed = place / path.name if place.is_dir() else place
            changed.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, changed)
        account = replace(stage, user=flags.get("chown", "root")).account()[0]
        subprocess.run(["chown", "-R", account, str(changed)], check=True)
        if "chmod" in flags:
            subprocess.run(["chmod", "-R", flags["chmod"], str(changed)], check=True)


class Build:
    """The build of a Dockerfile."""

    def __init__(self, root: Path, context: Path, **environment: str) -> None:
        self.root, self.context, self.environment = root, context, environment
        self.arguments: dict[str, str] = {}
        self.stages: dict[str, Stage] = {}
        self.stage: Stage | None = None

    def start_stage(self, rest: str, last: bool) -> None:
        """Run FROM: use the root, or a copy of it or of an earlier stage."""
        _, rest = flags_of(rest)
        base, _, name = re.sub(r"(?i)\s+as\s+", " AS ", rest).partition(" AS ")
        known = self.stages.get(base)
        root = self.root
        if known or not last:
            root = self.root.with_name(f"{self.root.name}.stage{len(self.stages)}")
            shutil.rmtree(root, ignore_errors=True)
            subprocess.run(["cp", "-a", str(known.root if known else self.root), root], check=True)
        inherited = dict(known.environment) if known else {"PATH": PATH}
        self.stage = Stage(root, environment=inherited, folder=known.folder if known else "/")
        self.stages[name or str(len(self.stages))] = self.stage

    def step(self, word: str, rest: str, last: bool = True) -> None:
        """Run one instruction."""
        if word == "FROM":
            return self.start_stage(rest, last)
        stage = self.stage
        if word == "ARG":
            name, _, default = rest.partition("=")
            scope = stage.arguments if stage else self.arguments
            scope[name] = self.arguments.get(name, default.strip("\"'"))
            return None
        if stage is None:
            raise DockerfileError(f"{word} before FROM")
        flags, rest = flags_of(rest)
        known = {"COPY": {"from", "chown", "chmod"}, "HEALTHCHECK": set(HEALTH)}.get(word, set())
        if flags.keys() - known:
            raise DockerfileError(f"{word} with --{min(flags.keys() - known)} is not known here")
        if word == "RUN":
            stage.run(words_of(rest), **{**stage.arguments, **self.environment})
        elif word == "COPY":
            origin = self.stages[flags["from"]].root if "from" in flags else self.context
            copy(stage, origin, rest, flags)
        elif word == "ENV":
            pairs = shlex.split(rest) if "=" in rest.split()[0] else ["=".join(rest.split(None, 1))]
            for name, _, value in (pair.partition("=") for pair in pairs):
                stage.environment[name] = stage.expand(value)
        elif word == "WORKDIR":
            stage.folder = os.path.normpath(os.path.join(stage.folder, stage.expand(rest)))
            stage.place(".").mkdir(parents=True, exist_ok=True)
        elif word == "USER":
            stage.user = stage.expand(rest)
        elif word == "HEALTHCHECK":
            stage.health = words_of(rest.partition(" ")[2].strip()) if rest != "NONE" else []
        elif word == "ENTRYPOINT":
            stage.entrypoint, stage.command = words_of(rest), []
        elif word == "CMD":
            stage.command = words_of(rest)
        elif word not in IGNORED:
            raise DockerfileError(f"{word} is not known here")
        return None


def follow(dockerfile: Path, root: Path, context: Path, **environment: str) -> Stage:
    """Run all steps of a Dockerfile; return the last stage, which is in `root`."""
    steps = instructions(dockerfile.read_text(encoding="utf-8"))
    final = max((i for i, (word, _) in enumerate(steps) if word == "FROM"), default=-1)
    build = Build(root, context, **environment)
    for number, (word, rest) in enumerate(steps):
        print(f"{word} {rest}", file=sys.stderr)
        build.step(word, rest, last=number >= final)
    if build.stage is None:
        raise DockerfileError(f"{dockerfile}: no FROM")
    return build.stage


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dockerfile", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("--context", type=Path, help="folder for COPY (default: DOCKERFILE's)")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--start", action="store_true", help="run the command of the container")
    given = parser.parse_args()
    try:
        stage = follow(
            given.dockerfile,
            given.root.resolve(),
            given.context or given.dockerfile.resolve().parent,
            **dict(pair.split("=", 1) for pair in given.env),
        )
    except DockerfileError as error:
        print(f"dockerfile_in_chroot: {error}", file=sys.stderr)
        return 1
    if given.start:
        words = stage.command_line(stage.process())
        os.execvpe(words[0], words, stage.variables())
    return 0


if __name__ == "__main__":
    sys.exit(main())
