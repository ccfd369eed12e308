"""Read and write checkpoint files.

`last.json` contains everything except arrays, and the name of the file with the arrays. It is
replaced atomically after that file is complete, so if a process is killed, the folder contains
either the old or the new checkpoint. `best` is a model folder that `load_model` can read.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from birdembed import _core
from birdembed._core import BirdembedError, WeightsError
from birdembed._version import __version__
from birdembed.base.files import (
    lock,
    made_folder,
    regular,
    replacing,
    staging,
    sweep,
    text_of_file,
    with_path,
)
from birdembed.base.json_text import json_object, json_text
from birdembed.base.species_names import SpeciesNames, checked_species_names
from birdembed.base.text import error_text, shortened, shown, some
from birdembed.images.preprocess import Preprocess
from birdembed.pretrained.contents import Pretrained
from birdembed.pretrained.reading import read_pretrained
from birdembed.pretrained.writing import write_pretrained
from birdembed.weights.safetensors_file import write_safetensors

LAST = "last.json"
BEST = "best"
_OLD_BEST = ".best.old"
_FORMAT = 1
_OWN = "own_checksum"
_KINDS = ("model", "m", "v", "ema")
_LEARNED = "loss/"  # prefix of the names of arrays learned by losses
_NO_JSON = ("arrays", "learned", "preprocess")


@dataclass
class Checkpoint:
    """The state of a training between two steps.

    Attributes
    ----------
    architecture, class_names, preprocess, species_names
        Of the model.
    arrays : dict
        `model`, the optimizer moments `m` and (with adamw) `v`, and `ema` if it is on: each a
        list of arrays in the order of the core's parameter table.
    step : int
        Number of optimizer steps so far.
    position : dict
        Position of the sampler: `epoch` (number of completed epochs), `epoch_start` (step at which
        the current epoch started) and the sums of the current epoch. The order and augmentation
        of the images follow from the seed, the epoch and the position; there is no other random
        state.
    config, history, data : dict, list, dict
        Options, values of completed epochs, and a description of the data.
    base_size : int
        Side of the training images if `image_size` is None.
    training : dict
        Training record of the model that the training started from.
    source : str
        Source of that model.
    learned : dict of str to ndarray
        Arrays learned by the losses.
    """

    architecture: str
    class_names: list[str]
    preprocess: Preprocess
    arrays: dict[str, list[np.ndarray]]
    step: int
    position: dict[str, Any]
    config: dict[str, Any]
    history: list[dict[str, Any]]
    data: dict[str, Any]
    base_size: int
    training: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    learned: dict[str, np.ndarray] = field(default_factory=dict)
    species_names: SpeciesNames = field(default_factory=dict)


def _names(architecture: str, classes: int) -> list[tuple[str, tuple[int, ...]]]:
    return _core.parameter_table(architecture, classes)


def _checksum(tensors: Mapping[str, np.ndarray]) -> int:
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(np.ascontiguousarray(tensors[name]).data, value)
    return value


def _own_checksum(values: Mapping[str, Any]) -> int:
    """Return the checksum of the values of last.json, after a round trip through JSON."""
    rest = {name: value for name, value in values.items() if name != _OWN}
    return zlib.crc32(json.dumps(rest, sort_keys=True).encode())


def _or_best(folder: Path) -> str:
    """Return a hint for an error about a checkpoint: what to start from instead."""
    best = folder / BEST
    return f"start again, or from the model in {best}" if best.exists() else "start again"


def has_checkpoint(directory: str | os.PathLike[str]) -> bool:
    """Return whether a folder contains a checkpoint, complete or not."""
    return (Path(directory) / LAST).exists()


@contextlib.contextmanager
def prepared_folder(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """Create the folder, check that it is writable before any work is done, and yield it.

    If the block fails, folders that were created and are still empty are removed again.

    Raises
    ------
    OSError
        The folder cannot be created or written. The message names it.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(made_folder(directory))
            with staging(folder, "probe") as probe:
                (probe / "file").write_bytes(b"")
        except OSError as error:
            raise with_path(error, Path(directory)) from error
        yield folder


def take_folder(directory: str | os.PathLike[str]) -> int:
    """Lock a folder for one training, until the returned descriptor is closed or the process ends.

    Raises
    ------
    BirdembedError
        Another training, in this or another process, is writing there.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        lock(fd, wait=False)
    except BlockingIOError:
        os.close(fd)
        raise BirdembedError(
            f"{os.fspath(directory)}: another training is writing its checkpoints there; wait for "
            "it to finish, or use another checkpoint_dir"
        ) from None
    return fd


def sweep_folder(directory: str | os.PathLike[str]) -> None:
    """Remove incomplete files left by killed runs; the caller holds the lock of the folder."""
    sweep(directory)
    for name in (LAST, "step-", BEST, "probe"):
        for path in Path(directory).glob(f".{name}*.tmp"):
            if path.name.endswith(".birdembed.tmp"):
                continue  # belongs to a running process
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()


def write_checkpoint(directory: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically; the previous one is kept until it is complete.

    Raises
    ------
    OSError
        The folder cannot be written, or the disk is full. The message names the file.
    """
    names = [n for n, _ in _names(checkpoint.architecture, len(checkpoint.class_names))]
    tensors = {
        f"{kind}/{name}": array
        for kind, arrays in checkpoint.arrays.items()
        for name, array in zip(names, arrays, strict=True)
    } | {_LEARNED + name: array for name, array in checkpoint.learned.items()}
    file = f"step-{checkpoint.step:08d}-{secrets.token_hex(3)}.safetensors"
    values = {
        "format": _FORMAT,
        "version": __version__,
        "file": file,
        "checksum": _checksum(tensors),
        **{k: v for k, v in vars(checkpoint).items() if k not in _NO_JSON},
        "preprocess": asdict(checkpoint.preprocess),
    }
    values = json.loads(json.dumps(values))
    values[_OWN] = _own_checksum(values)
    text = json_text(values, indent=1)
    with prepared_folder(directory) as folder:
        try:
            write_safetensors(folder / file, tensors)
            with replacing(folder / LAST) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8")
        except BaseException:
            with contextlib.suppress(OSError):
                if not _refers_to(folder / LAST, file):  # Ctrl-C may come after the last step
                    (folder / file).unlink()
            raise
    for path in folder.glob("step-*.safetensors"):
        if path.name != file:
            with contextlib.suppress(OSError):
                path.unlink()


def _refers_to(last: Path, file: str) -> bool:
    """Return whether the JSON file of a checkpoint names these weights."""
    return last.is_file() and json.dumps(file) in last.read_text(encoding="utf-8")


def read_checkpoint(directory: str | os.PathLike[str]) -> Checkpoint:
    """Read and check the last checkpoint of a folder.

    Raises
    ------
    WeightsError
        There is no checkpoint, it is damaged, or its arrays do not match its JSON file. The
        message says what differs.
    """
    path = Path(directory) / LAST
    try:
        values = json_object(text_of_file(path))
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file; this folder has no checkpoint") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: damaged, cannot be read as JSON: {error}") from error
    if values.get("format") != _FORMAT:
        raise WeightsError(
            f"{path}: has format {shown(values.get('format'))}, but this version reads {_FORMAT}"
        )
    try:
        return _checkpoint(path, values)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, WeightsError):
            raise
        what = shortened(str(error), 200)
        raise WeightsError(f"{path}: damaged: {type(error).__name__}: {what}") from error


def _checkpoint(path: Path, values: dict[str, Any]) -> Checkpoint:
    architecture, classes = values["architecture"], [str(n) for n in values["class_names"]]
    if architecture not in _core.architectures():
        raise WeightsError(
            f"{path}: unknown architecture {shown(architecture)}, expected one of "
            f"{', '.join(_core.architectures())}"
        )
    name = values["file"]
    if not isinstance(name, str) or len(name) > 255:
        raise WeightsError(f"{path}: damaged: not a file name: {shown(name)}")
    file = path.with_name(name)
    tensors = _read_tensors(file)
    learned = {n: tensors[n] for n in tensors if n.startswith(_LEARNED)}
    others = {n: tensors[n] for n in tensors if n not in learned}
    arrays = _sorted_arrays(file, path, others, architecture, len(classes))
    if _checksum(tensors) != values["checksum"]:
        raise WeightsError(
            f"{file}: damaged: its checksum differs from {path.name}; {_or_best(path.parent)}"
        )
    if values.get(_OWN) not in (None, _own_checksum(values)):
        raise WeightsError(f"{path}: damaged: its checksum is wrong; {_or_best(path.parent)}")
    preprocess: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in values["preprocess"].items()
    }
    return Checkpoint(
        architecture=architecture,
        class_names=classes,
        preprocess=Preprocess(**preprocess),
        arrays=arrays,
        step=int(values["step"]),
        position=dict(values["position"]),
        config=dict(values["config"]),
        history=[dict(logs) for logs in values["history"]],
        data=dict(values["data"]),
        base_size=int(values["base_size"]),
        training=dict(values.get("training") or {}),
        source=str(values.get("source", "")),
        species_names=checked_species_names(values.get("species_names")),
        learned={n.removeprefix(_LEARNED): np.array(a, "f4") for n, a in learned.items()},
    )


def _read_tensors(file: Path) -> dict[str, np.ndarray]:
    import safetensors
    from safetensors.numpy import load_file

    try:
        os.close(regular(os.fspath(file), os.O_RDONLY | os.O_CLOEXEC))  # no pipe
        return load_file(file)
    except FileNotFoundError:
        raise WeightsError(f"{file}: no such file, but {LAST} refers to it") from None
    except (safetensors.SafetensorError, OSError, ValueError, TypeError) as error:
        raise WeightsError(
            f"{file}: truncated or damaged ({error_text(error)}); {_or_best(file.parent)}"
        ) from error


def _sorted_arrays(
    file: Path, path: Path, tensors: Mapping[str, np.ndarray], architecture: str, classes: int
) -> dict[str, list[np.ndarray]]:
    """Return the arrays by kind in table order, after checking every name and shape."""
    table = _names(architecture, classes)
    kinds = [kind for kind in _KINDS if any(name.startswith(kind + "/") for name in tensors)]
    wanted = {f"{kind}/{name}": tuple(shape) for kind in kinds for name, shape in table}
    problems = [f"lacks {name}" for name in wanted if name not in tensors]
    problems += [f"also has {name}" for name in tensors if name not in wanted]
    problems += [
        f"{name} is {tensors[name].shape}, expected {shape}"
        for name, shape in wanted.items()
        if name in tensors and tensors[name].shape != shape
    ]
    if "model" not in kinds or problems:
        wrong = some(problems, 3, show=str, between="; ")
        raise WeightsError(
            f"{file}: does not match {path.name}, a {architecture} with {classes} "
            f"classes: {wrong or 'it has no weights'}"
        )
    return {
        kind: [np.ascontiguousarray(tensors[f"{kind}/{n}"], np.float32) for n, _ in table]
        for kind in kinds
    }


def write_best(directory: str | os.PathLike[str], pretrained: Pretrained) -> None:
    """Write the best model so far as a model folder, replacing the previous one.

    Raises
    ------
    OSError
        The folder cannot be written; the previous best model is kept.
    """
    folder = Path(directory)
    old = folder / _OLD_BEST
    try:
        _recover_best(folder)
        with staging(folder, "best") as staged:
            write_pretrained(staged / BEST, pretrained)
            if (folder / BEST).exists():
                shutil.rmtree(old, ignore_errors=True)
                os.rename(folder / BEST, old)
            os.rename(staged / BEST, folder / BEST)
    except OSError as error:
        raise with_path(error, folder / BEST) from error
    finally:
        _recover_best(folder)
    shutil.rmtree(old, ignore_errors=True)


def _recover_best(folder: Path) -> None:
    """Undo the first of two renames if the second one did not happen."""
    if (folder / _OLD_BEST).exists() and not (folder / BEST).exists():
        os.rename(folder / _OLD_BEST, folder / BEST)


def read_best(directory: str | os.PathLike[str], epoch: int) -> Pretrained | None:
    """Return the best model of a folder, or None if it is not from the given epoch."""
    folder = Path(directory)
    _recover_best(folder)
    try:
        best = read_pretrained(folder / BEST)
    except WeightsError:
        return None
    record: Sequence[Any] | Mapping[str, Any] = best.training.get("best") or {}
    return best if isinstance(record, Mapping) and record.get("epoch") == epoch else None
