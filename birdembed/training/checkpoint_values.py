"""Check the values of `last.json`, so that each error names the file and the field."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from birdembed._core import WeightsError
from birdembed.base.species_names import SpeciesNames, checked_species_names
from birdembed.base.text import error_text, shown
from birdembed.images.preprocess import Preprocess
from birdembed.training.checkpoint_files import OWN, is_step_file
from birdembed.training.config import TrainConfig
from birdembed.training.losses import SupCon
from birdembed.training.run import Position

_LARGEST = 2**63  # the core counts in 64 bits


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < _LARGEST)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


_Kind = tuple[str, Callable[[Any], bool]]
_WHOLE: _Kind = ("a whole number", _is_whole)
_NUMBER: _Kind = ("a number", _is_number)
_NUMBER_OR_NULL: _Kind = ("a number or null", lambda value: value is None or _is_number(value))
_TEXT: _Kind = ("a string", lambda value: isinstance(value, str))
_OBJECT: _Kind = ("an object", lambda value: isinstance(value, dict))
_LIST: _Kind = ("a list", lambda value: isinstance(value, list))
_NAMES: _Kind = ("a list of strings", _are_names)
_LOSS: _Kind = (
    "a string or a list of strings",
    lambda value: isinstance(value, str) or _are_names(value),
)

#: The fields of `last.json`. `replaces` is only read by `checkpoint_files`.
_FIELDS: dict[str, _Kind] = {
    "architecture": _TEXT,
    "class_names": _NAMES,
    "file": ("the name of a step file", is_step_file),
    "checksum": _WHOLE,
    "step": _WHOLE,
    "base_size": _WHOLE,
    "source": _TEXT,
    "history": _LIST,
    **dict.fromkeys(
        ("preprocess", "position", "config", "data", "training", "species_names"), _OBJECT
    ),
    OWN: _WHOLE,
}
_POSITION: dict[str, _Kind] = {
    field.name: {"int": _WHOLE, "float": _NUMBER}[str(field.type)] for field in fields(Position)
}
_EPOCH: dict[str, _Kind] = {"epoch": _WHOLE, "step": _WHOLE}
#: Callbacks may add values to the ones of an epoch.
_METRICS = dict.fromkeys(
    (
        *("train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "precision_at_1"),
        *("map_at_r", "lr", "seconds", "images_per_second"),
    ),
    _NUMBER_OR_NULL,
)


def check_fields(path: Path, values: Mapping[str, Any]) -> None:
    """Check that `last.json` has all fields with the right types.

    Raises
    ------
    WeightsError
        A field is missing or has another type. The message names file and field.
    """
    _check(path, "", values, _FIELDS)


def check_run(path: Path, values: Mapping[str, Any]) -> None:
    """Check the contents of the fields that describe the run; `check_fields` comes first.

    Raises
    ------
    WeightsError
        A value is missing, unknown, or not one that this package writes. The message names file
        and field.
    """
    position = values["position"]
    needed = {name: kind for name, kind in _POSITION.items() if name != "labelled"}
    _check(path, "position.", position, needed)
    _check(path, "position.", position, {k: v for k, v in _POSITION.items() if k in position})
    unknown = [name for name in position if name not in _POSITION]
    if unknown:
        raise WeightsError(f"{path}: damaged: position has the unknown field {shown(unknown[0])}")
    if position["epoch_start"] > values["step"]:
        raise WeightsError(f"{path}: damaged: position.epoch_start: is after the step")
    for i, logs in enumerate(values["history"]):
        _check(path, "history", {f"[{i}]": logs}, {f"[{i}]": _OBJECT})
        _check(path, f"history[{i}].", logs, _EPOCH)
        _check(path, f"history[{i}].", logs, {k: v for k, v in _METRICS.items() if k in logs})
    _check_config(path, values["config"], values["base_size"])


def _check_config(path: Path, config: Mapping[str, Any], base_size: int) -> None:
    """Check the options; those that a version did not have yet may be missing."""
    _check(path, "config.", config, {"epochs": _WHOLE, "lr": _NUMBER})
    losses = config.get("loss", [])
    _check(path, "config.", {"loss": losses}, {"loss": _LOSS})
    with _named(path, "config.loss"):
        for loss in [losses] if isinstance(losses, str) else losses:
            SupCon.from_repr(loss)
    with _named(path, "config"):
        # A custom loss is given again by the caller.
        options = TrainConfig.from_dict(config, loss="cross_entropy")
    with _named(path, "base_size"):
        options.size_at(0, base_size)


def preprocess_of(path: Path, values: Mapping[str, Any]) -> Preprocess:
    """Return the preprocessing; raise a WeightsError that names file and field."""
    stored: dict[str, Any] = values["preprocess"]
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
    with _named(path, "preprocess"):
        preprocess = Preprocess(**cast(dict[str, Any], given))
    with _named(path, "base_size"):
        replace(preprocess, size=values["base_size"])
    return preprocess


def species_names_of(path: Path, values: Mapping[str, Any]) -> SpeciesNames:
    """Return the names of the species; raise a WeightsError that names file and field."""
    with _named(path, "species_names"):
        return checked_species_names(values["species_names"])


def _check(path: Path, where: str, values: Mapping[str, Any], kinds: Mapping[str, _Kind]) -> None:
    for name, (what, fits) in kinds.items():
        if name not in values:
            raise WeightsError(f"{path}: damaged: {where}{name}: missing")
        if not fits(values[name]):
            raise WeightsError(
                f"{path}: damaged: {where}{name}: expected {what}, got {shown(values[name])}"
            )


@contextmanager
def _named(path: Path, field: str) -> Iterator[None]:
    """Raise an error of the block as a WeightsError that names file and field."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise WeightsError(f"{path}: damaged: {field}: {error_text(error)}") from error
