"""Read model folders and plain weights files."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from birdembed._core import WeightsError
from birdembed.base.files import KeptFile, text_of_file
from birdembed.base.json_text import json_object
from birdembed.base.species_names import SpeciesNames, checked_species_names
from birdembed.base.text import composed, error_text, shortened, shown
from birdembed.images.preprocess import Preprocess
from birdembed.pretrained.contents import (
    COMMITTED,
    CONFIG,
    FORMAT,
    GALLERY,
    PREPROCESSOR,
    PROJECTION,
    WEIGHT_FILES,
    WEIGHTS,
    Pretrained,
    file_in,
)
from birdembed.pretrained.preprocess_config import (
    preprocess_from_timm,
    preprocess_from_transformers,
)
from birdembed.weights.projection import POOLINGS, Projection, read_projection
from birdembed.weights.reading import read_weights
from birdembed.weights.state_dict import ARCHITECTURES, FEATURES, to_native

_TRIES = 20  # maximum number of saves by other processes while a folder is read


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raise a WeightsError that names the file if it is not one."""
    try:
        return json_object(text_of_file(path))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as JSON: {error}") from error


def _field(values: Mapping[str, Any], name: str, kind: Any, what: str, path: Path) -> Any:
    """Return a value of a config, or None if it is missing or null.

    Raises
    ------
    WeightsError
        The value has another type; the message names the field.
    """
    value = values.get(name)
    if value is None or (isinstance(value, kind) and (type(value) is not bool or kind is bool)):
        return value
    raise WeightsError(f"{path}: {name} must be {what}, got {shown(value)}")


def _class_names(names: Any, count: int, config_path: Path) -> list[str] | None:
    """Return label names given as a list or as {index: name}, or None if there are none."""
    if not names or not count:
        return None
    try:
        if isinstance(names, Mapping):
            if sorted(map(int, names)) != list(range(len(names))):
                raise ValueError(f"their numbers are not 0 to {len(names) - 1}")
            names = [names[i] for i in sorted(names, key=int)]
        if isinstance(names, (str, bytes)):
            raise TypeError("they are a single string")
        wrong = [name for name in names if not isinstance(name, (str, int))]
        if wrong:
            raise TypeError(f"{shown(wrong[0])} is not a name")
        listed = [composed(str(name)) for name in names]
    except (TypeError, ValueError, OverflowError) as error:
        raise WeightsError(
            f"{config_path}: the label names are not a list: {error_text(error)}"
        ) from error
    if len(listed) != count:
        raise WeightsError(
            f"{config_path}: has {len(listed)} class names, but the head has {count} classes"
        )
    return listed


def _species_names(species: Any, config_path: Path) -> SpeciesNames:
    """Return the names from the object "species" in the birdembed part of config.json."""
    try:
        return checked_species_names(
            {
                label: (names["common_name"], names.get("scientific_name", ""))
                for label, names in (species or {}).items()
            }
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{config_path}: species: expected names by label ({error_text(error)})"
        ) from error


def _calibration(values: Any, config_path: Path) -> dict[str, float] | None:
    """Return the numbers from the object "calibration" in the birdembed part of config.json."""
    if values is None:
        return None
    try:
        numbers = {name: float(values[name]) for name in ("bias", "score", "margin")}
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{config_path}: calibration: expected the numbers bias, score and margin, got "
            f"{shown(values)}"
        ) from error
    if not all(map(math.isfinite, numbers.values())):
        raise WeightsError(f"{config_path}: calibration: not finite: {numbers}")
    return numbers


def _projection(path: Path, architecture: str) -> Projection:
    """Return the projection of a folder; raise a WeightsError if it is of another network."""
    projection = read_projection(path)
    given, needed = len(projection.mean), FEATURES[architecture]
    if given != needed:
        raise WeightsError(
            f"{path}: takes {given} features, but {architecture} has {needed}; the file is "
            "damaged or belongs to another model"
        )
    return projection


def _ranges(values: Any, length: int, config_path: Path) -> np.ndarray | None:
    """Return the ranges from the object "int8" in the birdembed part of config.json."""
    if values is None:
        return None
    try:
        numbers = [float(value) for value in values["ranges"]]
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{config_path}: int8: ranges are not numbers: {shown(error.args)}"
        ) from error
    with np.errstate(over="ignore"):  # too large for float32: not finite
        ranges = np.array(numbers, np.float32)
    if len(ranges) != length or not np.isfinite(ranges).all() or ranges.min() < 0:
        raise WeightsError(
            f"{config_path}: int8: ranges must be {length} finite, non-negative numbers"
        )
    return ranges


def _architecture(config: Mapping[str, Any], path: Path) -> str | None:
    """Return the architecture that a timm config names, or None for one of transformers."""
    if config.get("model_type") == "resnet" and "architecture" not in config:
        wanted = {
            "hidden_act": "relu",
            "downsample_in_bottleneck": False,
            "downsample_in_first_stage": False,
        }
        for key, value in wanted.items():
            if config.get(key, value) != value:
                raise WeightsError(f"{path}: expected {key} {value}, got {shown(config[key])}")
        return None
    name = config.get("architecture")
    plain = name.removeprefix("tv_") if isinstance(name, str) else ""  # timm's older names
    if plain not in ARCHITECTURES:
        raise WeightsError(
            f"{path}: architecture {shown(name)} is not one of {', '.join(ARCHITECTURES)}"
        )
    return plain


def _read_preprocess(folder: Path, config: Mapping[str, Any]) -> Preprocess:
    own = config.get("birdembed") or {}
    mirror = bool(_field(own, "mirror", bool, "true or false", folder / CONFIG))
    cfg = config.get("pretrained_cfg")
    if isinstance(cfg, Mapping):
        return preprocess_from_timm(cfg, str(folder / CONFIG), mirror=mirror)
    path = folder / PREPROCESSOR
    if path.is_file():
        return preprocess_from_transformers(read_json(path), str(path))
    if config.get("architecture"):  # oldest configs of timm: the same keys at the top level
        return preprocess_from_timm(config, str(folder / CONFIG))
    raise WeightsError(f"{path}: no such file, and {CONFIG} has no preprocessing; pass preprocess=")


def _read_own(pretrained: Pretrained, own: Mapping[str, Any], folder: Path) -> None:
    """Set the parts described by the object "birdembed" in config.json."""
    path = folder / CONFIG
    if own.get("format") != FORMAT:
        raise WeightsError(
            f"{path}: has format {shown(own.get('format'))}, but this version reads {FORMAT}"
        )
    pooling = own.get("pooling", "avg")
    if not isinstance(pooling, str) or pooling not in POOLINGS:
        raise WeightsError(f"{path}: pooling must be one of {POOLINGS}, got {shown(pooling)}")
    pretrained.pooling = pooling
    pretrained.training = dict(_field(own, "training", Mapping, "an object", path) or {})
    threshold = _field(own, "threshold", (int, float), "a number", path)
    if threshold is not None and not abs(threshold) <= sys.float_info.max:
        raise WeightsError(f"{path}: threshold must be finite, got {shown(threshold)}")
    pretrained.threshold = None if threshold is None else float(threshold)
    pretrained.species_names = _species_names(own.get("species"), path)
    projection = _field(own, "projection", Mapping, "an object", path)
    if projection:
        pretrained.projection = _projection(file_in(folder, PROJECTION), pretrained.architecture)
        pretrained.project_by_default = bool(
            _field(projection, "default", bool, "true or false", path)
        )
    if own.get("gallery"):
        pretrained.gallery_file = KeptFile(file_in(folder, GALLERY))
        pretrained.calibration = _calibration(own.get("calibration"), path)
    convolutions = sum(array.ndim == 4 for array in pretrained.state.values())
    pretrained.ranges = _ranges(own.get("int8"), convolutions + 1, path)
    pretrained.trunk_digest = _field(own, "trunk_digest", str, "text", path)
    pretrained.fingerprint = _field(own, "fingerprint", str, "text", path)


def read_pretrained(
    directory: str | os.PathLike[str],
    *,
    architecture: str | None = None,
    num_classes: int | None = None,
    preprocess: Preprocess | None = None,
    source: str | None = None,
) -> Pretrained:
    """Read a model folder of birdembed, timm or transformers.

    Parameters
    ----------
    directory : str or Path
        Folder with config.json and model.safetensors (or pytorch_model.bin).
    architecture, num_classes
        See `to_native`.
    preprocess : Preprocess, optional
        Preprocessing to use instead of that of the folder, which is then not read.
    source : str, optional
        Value of `Pretrained.source` if the folder does not contain one.

    Raises
    ------
    WeightsError
        A file is missing, damaged, or does not match. The message names it.
    """
    folder = Path(directory)
    for _ in range(_TRIES):
        before = _state(folder)
        try:
            found = _read(folder, architecture, num_classes, preprocess)
        except WeightsError:
            if _state(folder) == before:
                raise
            continue
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            what = f"{type(error).__name__}: {shortened(str(error), 200)}"
            raise WeightsError(f"{folder / CONFIG}: damaged: {what}") from error
        if _state(folder) == before:
            break
    else:
        raise WeightsError(f"{folder}: another process keeps writing this folder; try again later")
    found.source = source or str(folder)
    return found


def _state(folder: Path) -> list[tuple[int, int] | None]:
    """Return a state of a model folder, to detect a save between two reads."""
    states: list[tuple[int, int] | None] = []
    for name in (COMMITTED, CONFIG, WEIGHTS):
        try:
            state = os.stat(folder / name)
        except OSError:
            states.append(None)
        else:
            states.append((state.st_ino, state.st_mtime_ns if name != COMMITTED else 0))
    return states


def _read(
    folder: Path,
    architecture: str | None,
    num_classes: int | None,
    preprocess: Preprocess | None,
) -> Pretrained:
    """Read a model folder once; see `read_pretrained`."""
    config_path = file_in(folder, CONFIG)
    if not config_path.is_file():
        raise WeightsError(
            f"{config_path}: no such file; this is not a model folder, or a save was interrupted; "
            "to load a plain weights file, use load_model('resnet50', weights=FILE)"
        )
    config = read_json(config_path)
    declared = _architecture(config, config_path)
    if None not in (architecture, declared) and architecture != declared:
        raise WeightsError(f"{config_path}: holds a {declared}, expected a {architecture}")
    places = [file_in(folder, name) for name in WEIGHT_FILES]
    weights = next((path for path in places if path.is_file()), None)
    if weights is None:
        raise WeightsError(f"{folder}: has none of {', '.join(WEIGHT_FILES)}")
    own = _field(config, "birdembed", Mapping, "an object", config_path)
    name, state = to_native(
        read_weights(weights), str(weights), declared or architecture, num_classes
    )
    given = preprocess if preprocess is not None else _read_preprocess(folder, config)
    pretrained = Pretrained(name, state, given, source=str(folder))
    cfg = _field(config, "pretrained_cfg", Mapping, "an object", config_path) or {}
    labels = cfg.get("label_names") or config.get("label_names") or config.get("id2label")
    pretrained.class_names = _class_names(labels, pretrained.num_classes, config_path)
    if own:
        _read_own(pretrained, own, folder)
        if preprocess is not None:
            pretrained.fingerprint = None  # it belongs to another output space
    return pretrained


def read_bare(
    path: str | os.PathLike[str],
    *,
    architecture: str | None = None,
    num_classes: int | None = None,
    preprocess: Preprocess | None = None,
) -> Pretrained:
    """Read a plain weights file; it gets the default `Preprocess()`.

    Raises
    ------
    WeightsError
        The file is missing, damaged, or does not match.
    """
    source = os.fsdecode(path)
    name, state = to_native(read_weights(source), source, architecture, num_classes)
    return Pretrained(name, state, preprocess or Preprocess(), source=source)
