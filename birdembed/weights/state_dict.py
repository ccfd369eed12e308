"""Parameter names of torchvision, timm and transformers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from birdembed import _core
from birdembed._core import WeightsError
from birdembed.base.checks import check_choice, check_not_masked
from birdembed.base.text import error_text, shown, some
from birdembed.weights.tensors import StoredTensor

#: Channels of the last feature map, and so numbers of a raw embedding, by architecture.
FEATURES = {name: _core.num_features(name) for name in _core.architectures()}
ARCHITECTURES = tuple(FEATURES)
#: Prefixes of all names in a file: DataParallel, torch.compile, a wrapper around a model.
_PREFIXES = ("module.", "_orig_mod.", "model.")
_HEAD = ("fc.weight", "fc.bias")
_SHOWN = 3  # names of a kind in an error message
# transformers' ResNet: embedder, stages of layers, each layer some convolutions and a shortcut.
_HF_PART = {"convolution": "conv", "normalization": "bn"}
_HF_STEM = re.compile(r"^(?:resnet\.)?embedder\.embedder\.(convolution|normalization)\.(\w+)$")
_HF_LAYER = re.compile(
    r"^(?:resnet\.)?encoder\.stages\.(\d+)\.layers\.(\d+)\.(?:layer\.(\d+)|(shortcut))"
    r"\.(convolution|normalization)\.(\w+)$"
)
_Tensor = TypeVar("_Tensor")  # of a file, or in memory
_HF_HEAD = re.compile(r"^classifier\.1\.(weight|bias)$")


def from_transformers(name: str) -> str | None:
    """Return the torchvision name for a ResNet name of transformers, or None for other names."""
    if match := _HF_STEM.match(name):
        return f"{_HF_PART[match[1]]}1.{match[2]}"
    if match := _HF_HEAD.match(name):
        return f"fc.{match[1]}"
    if match := _HF_LAYER.match(name):
        stage, layer, index, shortcut, part, leaf = match.groups()
        block = f"layer{int(stage) + 1}.{layer}"
        if shortcut:
            return f"{block}.downsample.{0 if part == 'convolution' else 1}.{leaf}"
        return f"{block}.{_HF_PART[part]}{int(index) + 1}.{leaf}"
    return None


def _strip_prefixes(tensors: Mapping[str, _Tensor]) -> dict[str, _Tensor]:
    stripped = dict(tensors)
    while stripped:
        prefix = next((p for p in _PREFIXES if all(n.startswith(p) for n in stripped)), None)
        if prefix is None:
            break
        stripped = {name[len(prefix) :]: tensor for name, tensor in stripped.items()}
    return stripped


def _native_names(tensors: Mapping[str, _Tensor]) -> dict[str, _Tensor]:
    """Rename tensors to native names: without common prefixes, and from those of transformers."""
    tensors = _strip_prefixes(tensors)
    tensors = {n: t for n, t in tensors.items() if not n.endswith("num_batches_tracked")}
    if any(_HF_STEM.match(name) for name in tensors):
        tensors = {from_transformers(name) or name: tensor for name, tensor in tensors.items()}
    return tensors


def _tell_architecture(names: Mapping[str, StoredTensor], source: str, expected: str | None) -> str:
    """Return the architecture with the same stem whose names differ least.

    If several differ equally, this is the expected one. So a file that lacks a few names is still
    recognised, and the error can list them.
    """
    stem = next((name for name in ("conv1.0.weight", "conv1.weight") if name in names), None)
    if stem is None:
        raise WeightsError(
            f"{source}: not a ResNet: neither conv1.weight nor conv1.0.weight is among its "
            f"{len(names)} tensors ({_listed(names) or 'none at all'})"
        )
    held = {name for name in names if name not in _HEAD}

    def difference(architecture: str) -> float:
        table = {name for name, _ in _core.parameter_table(architecture, 0)}
        return len(table ^ held) if stem in table else math.inf

    if expected is not None and not difference(expected):
        return expected
    return min(ARCHITECTURES, key=lambda name: (difference(name), name != expected))


def _listed(names: Iterable[str]) -> str:
    return some(names, _SHOWN, show=str)


def _check(
    tensors: Mapping[str, StoredTensor],
    table: list[tuple[str, tuple[int, ...]]],
    architecture: str,
    source: str,
) -> None:
    known = dict(table)
    missing = [name for name, _ in table if name not in tensors]
    unexpected = [name for name in tensors if name not in known]
    misshapen = [
        f"{name} (expected {tuple(shape)}, got {tensors[name].shape})"
        for name, shape in table
        if name in tensors and tensors[name].shape != tuple(shape)
    ]
    problems = [
        f"{kind} {_listed(items)}"
        for kind, items in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("misshapen", misshapen),
        )
        if items
    ]
    if problems:
        raise WeightsError(f"{source}: does not match {architecture}: {'; '.join(problems)}")


def _head_size(tensors: Mapping[str, StoredTensor]) -> int:
    for name in _HEAD:
        if name in tensors and tensors[name].shape:
            return tensors[name].shape[0]
    return 0


def _values(read: Callable[[str], np.ndarray], name: str, source: str) -> np.ndarray:
    """Return the checked values of a tensor; a variance must not be negative.

    Its root would be NaN, which the network hides, because its ReLUs turn NaN into 0.
    """
    values = read(f"{source}: {name}")
    if name.endswith("running_var") and values.min(initial=0) < 0:
        raise WeightsError(f"{source}: {name} has a negative variance; the file is damaged")
    return values


def to_native(
    tensors: Mapping[str, StoredTensor],
    source: str,
    architecture: str | None = None,
    num_classes: int | None = None,
) -> tuple[str, dict[str, np.ndarray]]:
    """Rename the tensors of a file to native names, and check all names and shapes.

    Parameters
    ----------
    tensors : mapping of str to StoredTensor
        With the names of torchvision, timm or transformers; `num_batches_tracked` is optional.
    source : str
        Name of the file for error messages.
    architecture : str, optional
        One of `ARCHITECTURES`; None tells it from the names.
    num_classes : int, optional
        None keeps the head, if the file has one; 0 removes it; other numbers must match the file.

    Returns
    -------
    architecture : str
    state : dict of str to numpy.ndarray
        float32, or float16 if the file stores that; C-contiguous, in the order of the core's table.

    Raises
    ------
    WeightsError
        Names are missing or unexpected or shapes are wrong (the message lists the first few), the
        file has another architecture, or its head has another number of classes.
    ValueError
        `architecture` is unknown.
    """
    if architecture is not None:
        check_choice("architecture", architecture, ARCHITECTURES)
    native = _native_names(tensors)
    held = _tell_architecture(native, source, architecture)
    if architecture is not None and held != architecture:
        raise WeightsError(f"{source}: holds a {held}, expected a {architecture}")
    head = _head_size(native)
    if num_classes == 0:
        native = {n: t for n, t in native.items() if n not in _HEAD}
        head = 0
    elif num_classes is not None and num_classes != head:
        raise WeightsError(
            f"{source}: has {head or 'no'} classes, but num_classes is {num_classes}; "
            f"load it with num_classes=0, then call reset_classifier({num_classes})"
        )
    table = _core.parameter_table(held, head)
    _check(native, table, held, source)
    return held, {name: _values(native[name].floats, name, source) for name, _ in table}


def _as_array(value: Any, name: str) -> np.ndarray:
    """Convert a value to an array, also a torch tensor on a GPU or in bfloat16."""
    try:
        check_not_masked(f"state_dict: {name}", value)
    except ValueError as error:
        raise WeightsError(str(error)) from None
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            if str(value.dtype) == "torch.bfloat16":  # not in NumPy; float32 has all its values
                value = value.float()
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"state_dict: {name} is not an array: {error_text(error)}") from error


def native_state(
    arrays: Mapping[str, Any],
    table: list[tuple[str, tuple[int, ...]]],
    architecture: str,
    present: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Check arrays in memory against the table of names and shapes of a network.

    Parameters
    ----------
    arrays : mapping of str to array
        In any form that NumPy accepts, by the same names as for `to_native`.
    table : list of (name, shape)
    architecture : str
        For error messages.
    present : mapping of str to numpy.ndarray
        Used for names missing in `arrays`. If it is not empty, unexpected names are ignored, unless
        all of them are unexpected.

    Raises
    ------
    WeightsError
        `arrays` is not a mapping of names, names are missing or unexpected, a shape is wrong, or
        an array is not numeric or has masked values.
    """
    if not isinstance(arrays, Mapping):
        raise WeightsError(f"state_dict must be arrays by name, got {shown(arrays)}")
    wrong = next((name for name in arrays if not isinstance(name, str)), None)
    if wrong is not None:
        raise WeightsError(f"state_dict: the names must be text, got {shown(wrong)}")
    given = {}
    for name, value in _native_names(arrays).items():
        if present and name not in present:
            continue
        array = _as_array(value, name)
        kind = f"F{array.dtype.itemsize * 8}" if array.dtype.kind == "f" else array.dtype.name
        given[name] = StoredTensor(kind, array)
    if arrays and not given:  # loading nothing is hardly what was meant
        raise WeightsError(
            f"state_dict: none of its {len(arrays)} names is one of {architecture} "
            f"({_listed(arrays)}); expected names such as {_listed(name for name, _ in table)}"
        )
    merged = {name: StoredTensor("F32", array) for name, array in present.items()} | given
    _check(merged, table, architecture, "state_dict")
    return {name: _values(merged[name].float32, name, "state_dict") for name, _ in table}


def to_saved(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a native state as saved by torchvision and timm, with `num_batches_tracked`."""
    saved: dict[str, np.ndarray] = {}
    for name, array in state.items():
        saved[name] = array
        if name.endswith(".running_var"):
            tracked = name.removesuffix("running_var") + "num_batches_tracked"
            saved[tracked] = np.zeros((), np.int64)
    return saved
