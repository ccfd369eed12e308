"""Write model folders."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from birdembed.base.files import with_path
from birdembed.base.species_names import full_name
from birdembed.pretrained.contents import (
    CONFIG,
    FORMAT,
    GALLERY,
    PROJECTION,
    WEIGHTS,
    Pretrained,
)
from birdembed.pretrained.preprocess_config import preprocess_to_timm
from birdembed.weights.float16 import as_stored
from birdembed.weights.projection import write_projection
from birdembed.weights.safetensors_file import write_safetensors
from birdembed.weights.state_dict import FEATURES, to_saved


def _config(pretrained: Pretrained, has_gallery: bool, dtype: str) -> dict[str, Any]:
    """Return config.json: timm's hub schema and our own object."""
    classes = pretrained.num_classes
    cfg: dict[str, Any] = {
        **preprocess_to_timm(pretrained.preprocess),
        "fixed_input_size": False,
        "num_classes": classes,
        "first_conv": "conv1.0" if pretrained.architecture == "resnet50d" else "conv1",
        "classifier": "fc",
    }
    if pretrained.class_names is not None:
        cfg["label_names"] = list(pretrained.class_names)
        if names := pretrained.species_names:  # timm wants all labels described, or none
            cfg["label_descriptions"] = {n: full_name(n, names) for n in pretrained.class_names}
    own: dict[str, Any] = {
        "format": FORMAT,
        "dtype": dtype,  # for people: the weights file says it tensor by tensor
        "pooling": pretrained.pooling,
        "mirror": pretrained.preprocess.mirror,
        "fingerprint": pretrained.fingerprint,
        "trunk_digest": pretrained.trunk_digest,
        "threshold": pretrained.threshold,
        "training": pretrained.training,
    }
    if pretrained.species_names:
        own["species"] = {
            label: {"common_name": common, "scientific_name": scientific}
            for label, (common, scientific) in pretrained.species_names.items()
        }
    if pretrained.projection is not None:
        own["projection"] = {"file": PROJECTION, "default": pretrained.project_by_default}
    if has_gallery:
        own["gallery"] = GALLERY
        if pretrained.calibration is not None:
            own["calibration"] = pretrained.calibration
    return {
        "architecture": pretrained.architecture,
        "num_classes": classes,
        "num_features": FEATURES,
        "global_pool": "avg",
        "pretrained_cfg": cfg,
        "birdembed": own,
    }


def _commit(staging: Path, folder: Path) -> None:
    """Move the files of `staging` to `folder` so that no reader sees a mixture.

    The old config.json goes first and the new one comes last: a folder without it does not load.
    """
    (folder / CONFIG).unlink(missing_ok=True)
    new = {path.name for path in staging.iterdir()}
    for name in (PROJECTION, GALLERY):
        if name not in new:
            (folder / name).unlink(missing_ok=True)
    for name in sorted(new - {CONFIG}):
        os.replace(staging / name, folder / name)
    os.replace(staging / CONFIG, folder / CONFIG)


def write_pretrained(
    directory: str | os.PathLike[str],
    pretrained: Pretrained,
    write_gallery: Callable[[Path], object] | None = None,
    dtype: str = "float32",
) -> None:
    """Write a model folder that timm, and for resnet50 torchvision, can load too.

    Parameters
    ----------
    directory : str or Path
        Made where it is missing. Files of an earlier save are replaced, others left alone.
    pretrained : Pretrained
        What to write; its missing digests are computed.
    write_gallery : callable, optional
        Called with the path to write the gallery to; `Index.save` of the model's gallery.
    dtype : "float32" or "float16"
        How kernels and matrices are stored; digests are those of what is stored.

    Raises
    ------
    OSError
        The folder cannot be written; the error names it, and what stood there stays.
    ValueError
        A weight is beyond what float16 holds.
    """
    pretrained = pretrained.with_fingerprint().stored_as(dtype)
    folder = Path(directory)
    config = _config(pretrained, write_gallery is not None, dtype)
    text = json.dumps(config, indent=2, ensure_ascii=False)
    staging = folder / f".save.{os.getpid()}.tmp"
    try:
        staging.mkdir(parents=True)
        write_safetensors(staging / WEIGHTS, to_saved(as_stored(pretrained.state, dtype)))
        if pretrained.projection is not None:
            write_projection(staging / PROJECTION, pretrained.projection)
        if write_gallery is not None:
            write_gallery(staging / GALLERY)
        (staging / CONFIG).write_text(text + "\n", encoding="utf-8")
        _commit(staging, folder)
    except OSError as error:
        raise with_path(error, folder) from error
    finally:
        if staging.is_dir():
            for path in staging.iterdir():
                path.unlink()
            staging.rmdir()
