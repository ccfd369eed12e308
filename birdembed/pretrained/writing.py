"""Write model folders."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from birdembed._core import WeightsError
from birdembed.base.files import (
    keep_owner,
    locked_folder,
    made_folder,
    open_to_others,
    path_text,
    staging,
    text_of_file,
    with_path,
)
from birdembed.base.json_text import json_object, json_text
from birdembed.base.species_names import full_name
from birdembed.base.text import readable, some
from birdembed.pretrained.card import CARD, MARK, model_card
from birdembed.pretrained.contents import (
    COMMITTED,
    CONFIG,
    FORMAT,
    GALLERY,
    PROJECTION,
    WEIGHTS,
    Pretrained,
    file_in,
)
from birdembed.pretrained.preprocess_config import preprocess_to_timm
from birdembed.weights.projection import write_projection
from birdembed.weights.safetensors_file import write_safetensors
from birdembed.weights.state_dict import FEATURES, to_saved
from birdembed.weights.storing import as_stored
from birdembed.weights.tensors import not_finite

#: Everything that a save writes.
_FILES = (CONFIG, WEIGHTS, PROJECTION, GALLERY, CARD)
_TRIES = 100  # maximum number of saves of other processes to wait for


def _config(pretrained: Pretrained, has_gallery: bool, dtype: str) -> dict[str, Any]:
    """Return the content of config.json: the hub schema of timm and the object "birdembed"."""
    classes = pretrained.num_classes
    cfg: dict[str, Any] = {
        **preprocess_to_timm(pretrained.preprocess),
        "fixed_input_size": False,
        "num_classes": classes,
        "first_conv": "conv1.0" if "conv1.0.weight" in pretrained.state else "conv1",
        "classifier": "fc",
    }
    if pretrained.class_names is not None:
        cfg["label_names"] = list(pretrained.class_names)
        if names := pretrained.species_names:  # timm needs a description of all labels or of none
            cfg["label_descriptions"] = {n: full_name(n, names) for n in pretrained.class_names}
    own: dict[str, Any] = {
        "format": FORMAT,
        "dtype": dtype,  # for information only; the weights file has it for each tensor
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
    if pretrained.ranges is not None:
        own["int8"] = {"ranges": pretrained.ranges.tolist()}  # exact for float32
    if has_gallery:
        own["gallery"] = GALLERY
        if pretrained.calibration is not None:
            own["calibration"] = pretrained.calibration
    return {
        "architecture": pretrained.architecture,
        "num_classes": classes,
        "num_features": FEATURES[pretrained.architecture],
        "global_pool": "avg",
        "pretrained_cfg": cfg,
        "birdembed": own,
    }


def _is_ours(card: Path) -> bool:
    """Return whether a model card may be written: there is none, or it was generated."""
    try:
        return MARK in text_of_file(card, errors="replace")
    except FileNotFoundError:
        return True
    except OSError:  # a folder, a pipe, or a file that this user may not read
        return False


def _has_own_config(folder: Path) -> bool:
    """Return whether the config.json of a folder was written by this package."""
    try:
        own = json_object(text_of_file(file_in(folder, CONFIG))).get("birdembed")
    except (OSError, ValueError):
        return False
    return isinstance(own, dict) and "format" in own


def own_files(folder: Path) -> list[Path]:
    """Return the files of a folder that `write_pretrained` wrote."""
    if not _has_own_config(folder):
        return []
    places = [place / name for place in (folder / COMMITTED, folder) for name in _FILES]
    return [path for path in places if path.is_file() and (path.name != CARD or _is_ours(path))]


def foreign(folder: Path) -> str:
    """Return what stands in a place that `write_pretrained` did not write, "" if it may write.

    It may write where nothing is, in an empty folder, and over a model of its own; it keeps other
    files next to that. A link counts as the folder that it points to. Hidden files do not count.
    """
    if not folder.is_dir():
        return "a file" if folder.exists() else ""
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    if names and not _has_own_config(folder):
        return f"a folder with other files ({some(names)}, but no {CONFIG} of birdembed)"
    return ""


def _check_places(folder: Path) -> None:
    """Raise an error if a folder is in the place of a file, before anything is changed."""
    for name in _FILES:
        place = folder / name
        # A card is only written over a card.
        if name != CARD and place.is_dir() and not place.is_symlink():
            raise IsADirectoryError(
                f"cannot save a model to {folder}: {place} is a folder, and must be a file; move "
                "it away"
            )


def _commit(staged: Path, folder: Path) -> None:
    """Move the files of `staged`, a folder locked by this thread, into `folder`.

    Renaming `staged` to `COMMITTED` is the atomic step: before it the folder loads as the old
    model, after it as the new one, even if a process is killed.
    """
    for path in staged.iterdir():
        keep_owner(path, folder / path.name)
    open_to_others(staged)
    committed = folder / COMMITTED
    for _ in range(_TRIES):
        try:
            os.rename(staged, committed)
            break
        except OSError as error:  # another save, which may be over by now
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            _finish_other(folder)
    else:
        raise FileExistsError(errno.EEXIST, "cannot be moved into place", str(committed))
    try:
        _take_places(folder)
    except BaseException:
        _take_places(folder)  # again, after Ctrl-C in between
        raise


def _finish_other(folder: Path) -> None:
    """Finish the save of a killed process, or wait for a running one."""
    committed = folder / COMMITTED
    with contextlib.suppress(FileNotFoundError), locked_folder(committed) as fd:
        if os.path.samestat(os.fstat(fd), os.stat(committed)):
            _take_places(folder)


def _take_places(folder: Path) -> None:
    """Move the files of a committed save to their places, config.json last."""
    committed = folder / COMMITTED
    if (committed / CONFIG).is_file():
        own = json.loads((committed / CONFIG).read_text(encoding="utf-8"))["birdembed"]
        for name, key in ((PROJECTION, "projection"), (GALLERY, "gallery")):
            if not own.get(key):
                (folder / name).unlink(missing_ok=True)
        for name in sorted(os.listdir(committed), key=lambda name: name == CONFIG):
            os.replace(committed / name, folder / name)
    with contextlib.suppress(OSError):  # already removed, or it belongs to the next save
        committed.rmdir()


def write_pretrained(
    directory: str | os.PathLike[str],
    pretrained: Pretrained,
    write_gallery: Callable[[Path, str], object] | None = None,
    dtype: str = "float32",
) -> Pretrained:
    """Write a model folder that timm (except for int8) and torchvision (plain ResNets) can load.

    Parameters
    ----------
    directory : str or Path
        Created if it does not exist. Files of an earlier save are replaced; other files, and a
        README.md that was not generated, are kept.
    pretrained : Pretrained
        The model to write; missing digests are computed.
    write_gallery : callable, optional
        Called with a path to write the gallery to and the fingerprint of the stored model.
    dtype : str
        One of `DTYPES`, see `as_stored`. Digests are those of the stored weights.

    Returns
    -------
    Pretrained
        The model as stored: `pretrained` itself, unless weights were rounded.

    Raises
    ------
    OSError
        The folder cannot be written. The message names it, and existing files are unchanged.
    ValueError
        A weight does not fit into `dtype`.
    WeightsError
        A weight is NaN or infinite.
    """
    pretrained = pretrained.with_fingerprint().stored_as(dtype)
    name = not_finite(pretrained.state)
    if name is not None:  # no loader would accept it
        raise WeightsError(f"{name} contains NaN or infinity; the training may have diverged")
    folder = Path(path_text(directory))
    _check_places(folder)
    config = _config(pretrained, write_gallery is not None, dtype)
    text = json_text(config, indent=2)
    try:
        with made_folder(folder), staging(folder, "save.") as staged:
            write_safetensors(staged / WEIGHTS, to_saved(as_stored(pretrained.state, dtype)))
            if pretrained.projection is not None:
                write_projection(staged / PROJECTION, pretrained.projection)
            if write_gallery is not None:
                assert pretrained.fingerprint is not None
                write_gallery(staged / GALLERY, pretrained.fingerprint)
            if _is_ours(folder / CARD):
                card = model_card(config, folder.resolve().name)
                (staged / CARD).write_text(readable(card), encoding="utf-8")
            with open(staged / CONFIG, "w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            _commit(staged, folder)
    except OSError as error:
        raise with_path(error, folder) from error
    return pretrained
