"""Fetch the sample photographs."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

from birdembed._core import BirdembedError
from birdembed.base.files import cache_dir, replacing_dir

_SAMPLES_PACKAGE = "tuxpaint-stamps-default"
_SAMPLES_FOLDER = "usr/share/tuxpaint/stamps/animals/birds/"
_SAMPLES_LICENCE = f"usr/share/doc/{_SAMPLES_PACKAGE}/copyright"


def samples_dir() -> Path:
    """Return the cache folder that `fetch("samples")` fills; it need not exist."""
    return cache_dir() / "samples"


def _stream_members(package: Path, folder: Path) -> int:
    """Unpack the photographs and the licence of a .deb; return the number of photographs."""
    count = 0
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(package)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as unpacker:
        with tarfile.open(fileobj=unpacker.stdout, mode="r|") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                base = name.rsplit("/", 1)[-1]
                # Directly in the folder: below it are cartoons, and the one SVG is a drawing.
                is_photograph = name == _SAMPLES_FOLDER + base and base.endswith(".png")
                if not member.isfile() or not (is_photograph or name == _SAMPLES_LICENCE):
                    continue
                content = archive.extractfile(member)
                assert content is not None
                (folder / (base if is_photograph else "LICENSE.txt")).write_bytes(content.read())
                count += is_photograph
        unpacker.communicate()
    if unpacker.returncode != 0:
        raise tarfile.ReadError("dpkg-deb could not read it")
    return count


def _download_samples(target: Path) -> Path:
    """Download Debian's package into a folder with apt-get, and return its path."""
    ways_out = (
        "Ways out: use a folder of your own photographs instead (`birdembed demo --images DIR`); "
        f"or download {_SAMPLES_PACKAGE} (a .deb of Debian, any machine will do) and call "
        "fetch('samples', source=DEB)"
    )
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise BirdembedError(
            f"the sample photographs come from Debian's package {_SAMPLES_PACKAGE}, and this "
            f"machine has no apt-get. {ways_out}"
        )
    try:
        done = subprocess.run(
            ["apt-get", "download", "--quiet", _SAMPLES_PACKAGE],
            cwd=target,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise BirdembedError(f"apt-get could not be started: {error}. {ways_out}") from error
    found = sorted(target.glob("*.deb"))
    if done.returncode != 0 or not found:
        said = " / ".join(line for line in done.stdout.splitlines() if line.startswith("E:"))
        raise BirdembedError(
            f"apt-get could not download {_SAMPLES_PACKAGE} ({said or 'no reason given'}); "
            f"`apt-get update` (as root) may be needed first. {ways_out}"
        )
    return found[0]


def fetch_samples(source: Path | None) -> Path:
    """Fetch the sample photographs and return their folder."""
    target = samples_dir()
    if target.is_dir():
        return target
    with replacing_dir(target) as folder:
        work = folder / "work"
        work.mkdir()
        package = source or _download_samples(work)
        try:
            count = _stream_members(package, folder)
        except (OSError, tarfile.TarError) as error:
            raise BirdembedError(f"{package}: cannot be unpacked: {error}") from error
        if count == 0:
            raise BirdembedError(f"{package}: holds no photographs below {_SAMPLES_FOLDER}")
        shutil.rmtree(work)
    return target
