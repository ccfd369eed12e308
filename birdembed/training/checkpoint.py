"""Read and write checkpoint files.

`last.json` contains everything except arrays, and the name of the file with the arrays. It is
replaced atomically after that file is complete, so if a process is killed, the folder contains
either the old or the new checkpoint. `best` is a model folder that `load_model` can read; it may be
a link to a folder elsewhere. New files have the mode and owner of those that they replace.
"""

from __future__ import annotations

import contextlib
import json
import os
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
    keep_owner,
    lock,
    made_folder,
    path_text,
    regular,
    replacing,
    staging,
    sweep,
    text_of_file,
    with_path,
)
from birdembed.base.json_text import json_object, json_text
from birdembed.base.species_names import SpeciesNames
from birdembed.base.text import error_text, shown, some
from birdembed.images.preprocess import Preprocess
from birdembed.pretrained.contents import Pretrained
from birdembed.pretrained.reading import read_pretrained
from birdembed.pretrained.writing import write_pretrained
from birdembed.training import checkpoint_files
from birdembed.training.checkpoint_files import (
    AFTER,
    OWN,
    check_free,
    own_checksum,
    remove_leftovers,
    step_file,
    step_files_named,
)
from birdembed.training.checkpoint_values import (
    check_fields,
    check_run,
    preprocess_of,
    species_names_of,
)
from birdembed.weights.safetensors_file import write_safetensors

LAST = checkpoint_files.LAST
BEST = checkpoint_files.BEST
_FORMAT = 1
_KINDS = ("model", "m", "v", "ema")
_LEARNED = "loss/"  # prefix of the names of arrays learned by losses
_NO_JSON = ("arrays", "learned", "preprocess")
#: Fields of `Checkpoint` that are read from last.json as they are.
_PLAIN = (
    *("architecture", "class_names", "step", "position", "config", "history", "data"),
    *("base_size", "training", "source"),
)


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


def _or_best(folder: Path) -> str:
    """Return a hint for an error about a checkpoint: what to start from instead."""
    best = folder / BEST
    return f"start again, or from the model in {best}" if best.exists() else "start again"


def has_checkpoint(directory: str | os.PathLike[str]) -> bool:
    """Return whether a folder contains a checkpoint, complete or not."""
    return (Path(path_text(directory)) / LAST).exists()


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
        Another training, in this or another process, is writing there, or a file that the training
        would replace is not one of its own.
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
    try:
        check_free(directory)
    except BaseException:
        os.close(fd)
        raise
    return fd


def sweep_folder(directory: str | os.PathLike[str]) -> None:
    """Remove incomplete files left by killed runs; the caller holds the lock of the folder."""
    sweep(directory)
    remove_leftovers(Path(directory))


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
    file = step_file(checkpoint.step)
    with prepared_folder(directory) as folder:
        remove_leftovers(folder)
        before = (step_files_named(folder) or ("", ""))[0]
        text = _text_of(checkpoint, file, before, _checksum(tensors))
        try:
            _write_arrays(folder / file, tensors, before)
            with replacing(folder / LAST) as temporary:
                temporary.write_text(text, encoding="utf-8")
        except BaseException:
            with contextlib.suppress(OSError):
                if not _refers_to(folder / LAST, file):  # Ctrl-C may come after the last step
                    (folder / file).unlink()
            raise
        remove_leftovers(folder)


def _text_of(checkpoint: Checkpoint, file: str, before: str, checksum: int) -> str:
    """Return the content of last.json; `before` is the step file that `file` replaces."""
    values = {
        "format": _FORMAT,
        "version": __version__,
        "file": file,
        "replaces": before,
        "checksum": checksum,
        **{k: v for k, v in vars(checkpoint).items() if k not in _NO_JSON},
        "preprocess": asdict(checkpoint.preprocess),
    }
    values = json.loads(json_text(values))
    values[OWN] = own_checksum(values)
    return json_text(values, indent=1) + "\n"


def _write_arrays(path: Path, tensors: Mapping[str, np.ndarray], before: str) -> None:
    """Write a step file with the mode and owner of the one before it, if there is one."""
    try:
        with staging(path.parent, path.name) as staged:
            write_safetensors(staged / path.name, tensors, {AFTER: before})
            if before:
                keep_owner(staged / path.name, path.with_name(before))
            os.rename(staged / path.name, path)
    except OSError as error:
        raise with_path(error, path) from error


def _refers_to(last: Path, file: str) -> bool:
    """Return whether the JSON file of a checkpoint names these weights."""
    return last.is_file() and json.dumps(file) in last.read_text(encoding="utf-8")


def read_checkpoint(directory: str | os.PathLike[str]) -> Checkpoint:
    """Read and check the last checkpoint of a folder.

    Raises
    ------
    WeightsError
        There is no checkpoint, it is damaged, or its arrays do not match its JSON file. The
        message names the file and what differs.
    """
    path = Path(path_text(directory)) / LAST
    values = _read_values(path)
    architecture, classes = values["architecture"], values["class_names"]
    file = path.with_name(values["file"])
    tensors = _read_tensors(file)
    learned = {n: tensors[n] for n in tensors if n.startswith(_LEARNED)}
    others = {n: tensors[n] for n in tensors if n not in learned}
    arrays = _sorted_arrays(file, path, others, architecture, len(classes))
    if _checksum(tensors) != values["checksum"]:
        raise WeightsError(
            f"{file}: damaged: its checksum differs from {path.name}; {_or_best(path.parent)}"
        )
    if values[OWN] != own_checksum(values):
        raise WeightsError(f"{path}: damaged: its checksum is wrong; {_or_best(path.parent)}")
    check_run(path, values)
    return Checkpoint(
        **{name: values[name] for name in _PLAIN},
        preprocess=preprocess_of(path, values),
        arrays=arrays,
        species_names=species_names_of(path, values),
        learned={n.removeprefix(_LEARNED): np.array(a, "f4") for n, a in learned.items()},
    )


def _read_values(path: Path) -> dict[str, Any]:
    """Return the values of last.json, after checking their types."""
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
    check_fields(path, values)
    architecture = values["architecture"]
    if architecture not in _core.architectures():
        raise WeightsError(
            f"{path}: unknown architecture {shown(architecture)}, expected one of "
            f"{', '.join(_core.architectures())}"
        )
    return values


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
    """Write the best model so far as a model folder, replacing the files of the previous one.

    Raises
    ------
    OSError
        The folder cannot be written; the previous best model is kept.
    """
    best = Path(directory) / BEST
    try:
        write_pretrained(os.path.realpath(best), pretrained)  # a link keeps pointing to its folder
    except OSError as error:
        raise with_path(error, best) from error


def read_best(directory: str | os.PathLike[str], epoch: int) -> Pretrained | None:
    """Return the best model of a folder, or None if it is not from the given epoch."""
    try:
        best = read_pretrained(Path(directory) / BEST)
    except WeightsError:
        return None
    record: Sequence[Any] | Mapping[str, Any] = best.training.get("best") or {}
    return best if isinstance(record, Mapping) and record.get("epoch") == epoch else None
