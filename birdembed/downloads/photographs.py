"""Download the sample photos."""

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
    """Return the cache folder of `fetch("samples")`; it may not exist yet."""
    return cache_dir() / "samples"


def _stream_members(package: Path, folder: Path) -> int:
    """Unpack the photos and the licence of a .deb file; return the number of photos."""
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
                # Only files directly in the folder: subfolders have cartoons, the SVG is a drawing.
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
    """Download the Debian package to a folder with apt-get, and return its path."""
    ways_out = (
        "Alternatives: use a folder of your own photos (`birdembed demo --images DIR`), or "
        f"download the Debian package {_SAMPLES_PACKAGE} (.deb) on any machine and call "
        "fetch('samples', source=DEB)"
    )
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise BirdembedError(
            f"the sample photos are in the Debian package {_SAMPLES_PACKAGE}, but this "
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
            f"try `apt-get update` (as root) first. {ways_out}"
        )
    return found[0]


def fetch_samples(source: Path | None) -> Path:
    """Download the sample photos and return their folder."""
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
            raise BirdembedError(f"{package}: has no photos below {_SAMPLES_FOLDER}")
        shutil.rmtree(work)
    return target
