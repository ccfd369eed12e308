"""Model folders: what `save_pretrained` writes, and those of timm and transformers.

A folder holds config.json in the schema of timm's hub models, with an object "birdembed" of our
own, and model.safetensors under torchvision's / timm's names. A projection and a gallery are files
of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from birdembed._core import WeightsError
from birdembed._dtype import as_stored, check_dtype, rounded
from birdembed._files import with_path
from birdembed._names import ARCHITECTURES, to_native, to_saved
from birdembed._pixels import Preprocess
from birdembed._preprocess_config import (
    preprocess_from_timm,
    preprocess_from_transformers,
    preprocess_to_timm,
)
from birdembed._projection import POOLINGS, Projection, read_projection, write_projection
from birdembed._safetensors import write_safetensors
from birdembed._weights_file import read_weights

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PROJECTION = "projection.safetensors"
GALLERY = "gallery.safetensors"
PREPROCESSOR = "preprocessor_config.json"  # transformers'
#: In the order they are looked for.
WEIGHT_FILES = (WEIGHTS, "pytorch_model.bin")
_FORMAT = 1  # of the object "birdembed" in config.json
_FEATURES = 2048


@dataclass
class Pretrained:
    """Everything a model consists of, between its files and `Model`.

    Attributes
    ----------
    architecture : str
        "resnet50" or "resnet50d".
    state : dict of str to numpy.ndarray
        Native names, float32, C-contiguous.
    preprocess : Preprocess
        How pictures become its input.
    class_names : list of str or None
        Of the head's rows.
    pooling : str
        "avg" or "gem": of embeddings without a projection.
    projection : Projection or None
    project_by_default : bool
        Whether `encode` projects unless told otherwise. SSCD's own projection does not.
    training : dict
        Record of the training, JSON values.
    trunk_digest, fingerprint : str or None
        As `trunk_digest` and `fingerprint` compute them; None where no file names them yet.
    source : str
        Where it came from, for people.
    threshold : float or None
        Least score at which `identify` calls a species known.
    gallery_path : Path or None
        File of the gallery, an `Index`.
    gallery : Gallery or None
        The gallery itself, of a model in memory.
    """

    architecture: str
    state: dict[str, np.ndarray]
    preprocess: Preprocess = field(default_factory=Preprocess)
    class_names: list[str] | None = None
    pooling: str = "avg"
    projection: Projection | None = None
    project_by_default: bool = False
    training: dict[str, Any] = field(default_factory=dict)
    trunk_digest: str | None = None
    fingerprint: str | None = None
    source: str = ""
    threshold: float | None = None
    gallery_path: Path | None = None
    gallery: Any = None

    @property
    def num_classes(self) -> int:
        """Rows of the head, 0 without one."""
        return int(self.state["fc.weight"].shape[0]) if "fc.weight" in self.state else 0

    def with_fingerprint(self) -> Pretrained:
        """Compute what is missing of the two digests and return self."""
        if self.trunk_digest is None:
            self.trunk_digest = trunk_digest(self.state, self.architecture)
        if self.fingerprint is None:
            used = self.projection if self.project_by_default else None
            self.fingerprint = fingerprint_of(
                self.trunk_digest, self.pooling, used, self.preprocess
            )
        return self

    def stored_as(self, dtype: str) -> Pretrained:
        """Return what comes back after storing in that type: its digests name the rounded weights.

        Where nothing is lost, that is `self`.
        """
        if check_dtype(dtype) == "float32":
            return self
        state = rounded(self.state, dtype)
        if all(np.array_equal(state[name], self.state[name]) for name in state):
            return self
        return replace(self, state=state, trunk_digest=None, fingerprint=None).with_fingerprint()


def trunk_digest(state: Mapping[str, np.ndarray], architecture: str) -> str:
    """Return the SHA-256 of the trunk as it would be saved: names, shapes, float32 values.

    The head (`fc.*`) is left out.
    """
    digest = hashlib.sha256(f"birdembed trunk 1 {architecture}\n".encode())
    for name in sorted(state):
        if name.startswith("fc."):
            continue
        array = np.ascontiguousarray(state[name], dtype="<f4")
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def fingerprint_of(
    trunk: str, pooling: str, projection: Projection | None, preprocess: Preprocess
) -> str:
    """Return the SHA-256 that names an output space, from a trunk's digest and the rest.

    Parameters
    ----------
    trunk : str
        What `trunk_digest` returned.
    pooling : "avg" or "gem"
        Of embeddings without a projection; with one, the projection's own counts.
    projection : Projection or None
        The one applied, None for raw embeddings.
    preprocess : Preprocess
        Every field counts.
    """
    fields = {
        "trunk": trunk,
        "pooling": projection.pooling if projection is not None else pooling,
        "preprocess": preprocess_to_timm(preprocess),
        "mirror": preprocess.mirror,
    }
    digest = hashlib.sha256(b"birdembed space 1\n")
    digest.update(json.dumps(fields, sort_keys=True).encode())
    if projection is not None:
        for array in (projection.mean, projection.matrix):
            digest.update(f"{array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    return digest.hexdigest()


def fingerprint(
    state: Mapping[str, np.ndarray],
    architecture: str,
    pooling: str,
    projection: Projection | None,
    preprocess: Preprocess,
) -> str:
    """Return the SHA-256 that names the output space of a model; see `fingerprint_of`."""
    return fingerprint_of(trunk_digest(state, architecture), pooling, projection, preprocess)


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
    own: dict[str, Any] = {
        "format": _FORMAT,
        "dtype": dtype,  # for people: the weights file says it tensor by tensor
        "pooling": pretrained.pooling,
        "mirror": pretrained.preprocess.mirror,
        "fingerprint": pretrained.fingerprint,
        "trunk_digest": pretrained.trunk_digest,
        "threshold": pretrained.threshold,
        "training": pretrained.training,
    }
    if pretrained.projection is not None:
        own["projection"] = {"file": PROJECTION, "default": pretrained.project_by_default}
    if has_gallery:
        own["gallery"] = GALLERY
    return {
        "architecture": pretrained.architecture,
        "num_classes": classes,
        "num_features": _FEATURES,
        "global_pool": "avg",
        "pretrained_cfg": cfg,
        "birdembed": own,
    }


def _commit(staging: Path, folder: Path) -> None:
    """Move the files of `staging` to `folder` so that no moment shows a mixture.

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


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def _class_names(names: Any, count: int, config_path: Path) -> list[str] | None:
    """Return label names given as a list or as {index: name}; None where there are none."""
    if not names or not count:
        return None
    try:
        if isinstance(names, Mapping):
            names = [names[i] for i in sorted(names, key=int)]
        listed = [str(name) for name in names]
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{config_path}: the label names are not a list: {error}") from error
    if len(listed) != count:
        raise WeightsError(
            f"{config_path}: names {len(listed)} classes, the head of the weights has {count}"
        )
    return listed


def _architecture(config: Mapping[str, Any], path: Path) -> str:
    """Return which of our architectures a timm or transformers config describes."""
    if config.get("model_type") == "resnet" and "architecture" not in config:
        wanted = {
            "depths": [3, 4, 6, 3],
            "layer_type": "bottleneck",
            "hidden_act": "relu",
            "downsample_in_bottleneck": False,
            "downsample_in_first_stage": False,
        }
        for key, value in wanted.items():
            if config.get(key, value) != value:
                raise WeightsError(f"{path}: expected {key} {value}, got {config[key]!r}")
        return "resnet50"
    name = config.get("architecture")
    if name == "tv_resnet50":  # timm's older name
        return "resnet50"
    if name not in ARCHITECTURES:
        raise WeightsError(
            f"{path}: architecture {name!r} is not one of {', '.join(ARCHITECTURES)}"
        )
    return str(name)


def _read_preprocess(folder: Path, config: Mapping[str, Any]) -> Preprocess:
    own = config.get("birdembed", {})
    cfg = config.get("pretrained_cfg")
    if isinstance(cfg, Mapping):
        return preprocess_from_timm(cfg, str(folder / CONFIG), mirror=bool(own.get("mirror")))
    path = folder / PREPROCESSOR
    if path.is_file():
        return preprocess_from_transformers(_read_json(path), str(path))
    if config.get("architecture"):  # timm's oldest configs: the same keys at the top
        return preprocess_from_timm(config, str(folder / CONFIG))
    raise WeightsError(
        f"{path}: no such file, and {CONFIG} names no preprocessing either; pass preprocess="
    )


def _read_own(pretrained: Pretrained, own: Mapping[str, Any], folder: Path) -> None:
    """Fill in what the object "birdembed" of config.json says."""
    path = folder / CONFIG
    if own.get("format") != _FORMAT:
        raise WeightsError(
            f"{path}: written in format {own.get('format')!r}, this version reads {_FORMAT}"
        )
    if own.get("pooling", "avg") not in POOLINGS:
        raise WeightsError(f"{path}: pooling must be one of {POOLINGS}, got {own['pooling']!r}")
    pretrained.pooling = own.get("pooling", "avg")
    pretrained.training = dict(own.get("training") or {})
    pretrained.threshold = own.get("threshold")
    if own.get("projection"):
        pretrained.projection = read_projection(folder / PROJECTION)
        pretrained.project_by_default = bool(own["projection"].get("default"))
    if own.get("gallery"):
        pretrained.gallery_path = folder / GALLERY
    pretrained.trunk_digest = own.get("trunk_digest")
    pretrained.fingerprint = own.get("fingerprint")


def read_pretrained(
    directory: str | os.PathLike[str],
    *,
    architecture: str | None = None,
    num_classes: int | None = None,
    preprocess: Preprocess | None = None,
    source: str | None = None,
) -> Pretrained:
    """Read a model folder: ours, timm's or transformers'.

    Parameters
    ----------
    directory : str or Path
        Holds config.json and model.safetensors (or pytorch_model.bin).
    architecture, num_classes
        As `to_native` takes them.
    preprocess : Preprocess, optional
        Instead of the folder's own, which is then not read.
    source : str, optional
        What `Pretrained.source` says where the folder does not say it itself.

    Raises
    ------
    WeightsError
        A file is missing, damaged, or does not fit; the error names it.
    """
    folder = Path(directory)
    config_path = folder / CONFIG
    if not config_path.is_file():
        raise WeightsError(
            f"{config_path}: no such file: not a model folder, or a save was interrupted; "
            "a bare weights file is loaded with load_model('resnet50', weights=FILE)"
        )
    config = _read_json(config_path)
    declared = _architecture(config, config_path)
    if architecture is not None and architecture != declared:
        raise WeightsError(f"{config_path}: holds a {declared}, expected a {architecture}")
    weights = next((folder / n for n in WEIGHT_FILES if (folder / n).is_file()), None)
    if weights is None:
        raise WeightsError(f"{folder}: holds none of {', '.join(WEIGHT_FILES)}")
    own = config.get("birdembed")
    name, state = to_native(read_weights(weights), str(weights), declared, num_classes)
    given = preprocess if preprocess is not None else _read_preprocess(folder, config)
    pretrained = Pretrained(name, state, given, source=source or str(folder))
    cfg = config.get("pretrained_cfg") or {}
    labels = cfg.get("label_names") or config.get("label_names") or config.get("id2label")
    pretrained.class_names = _class_names(labels, pretrained.num_classes, config_path)
    if own:
        _read_own(pretrained, own, folder)
        if preprocess is not None:
            pretrained.fingerprint = None  # of another output space
    return pretrained


def read_bare(
    path: str | os.PathLike[str],
    *,
    architecture: str | None = None,
    num_classes: int | None = None,
    preprocess: Preprocess | None = None,
) -> Pretrained:
    """Read a weights file that comes with nothing else; it gets the default `Preprocess()`.

    Raises
    ------
    WeightsError
        The file is missing, damaged, or does not fit.
    """
    source = os.fspath(path)
    name, state = to_native(read_weights(path), source, architecture, num_classes)
    return Pretrained(name, state, preprocess or Preprocess(), source=source)


def check_fingerprint(pretrained: Pretrained) -> str:
    """Recompute a model's fingerprint and hold it against the one its config.json keeps.

    Returns
    -------
    str
        The fingerprint.

    Raises
    ------
    WeightsError
        They differ: a file was changed after it was saved.
    """
    fresh = Pretrained(
        pretrained.architecture,
        pretrained.state,
        pretrained.preprocess,
        pooling=pretrained.pooling,
        projection=pretrained.projection,
        project_by_default=pretrained.project_by_default,
    ).with_fingerprint()
    assert fresh.fingerprint is not None
    if pretrained.fingerprint is not None and fresh.fingerprint != pretrained.fingerprint:
        raise WeightsError(
            f"{pretrained.source}: config.json names the fingerprint "
            f"{pretrained.fingerprint[:16]}..., its files have {fresh.fingerprint[:16]}...: "
            "they were changed after they were saved"
        )
    return fresh.fingerprint
