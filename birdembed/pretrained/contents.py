"""The contents of a model folder."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from birdembed._core import WeightsError
from birdembed.base.species_names import SpeciesNames
from birdembed.images.preprocess import Preprocess
from birdembed.pretrained.fingerprint import fingerprint_of, trunk_digest
from birdembed.weights.float16 import check_dtype, rounded
from birdembed.weights.projection import Projection

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PROJECTION = "projection.safetensors"
GALLERY = "gallery.safetensors"
PREPROCESSOR = "preprocessor_config.json"  # transformers'
#: In the order they are looked for.
WEIGHT_FILES = (WEIGHTS, "pytorch_model.bin")
COMMITTED = ".saved"  # a whole save, whose files are about to take their places
FORMAT = 1  # of the object "birdembed" in config.json


@dataclass
class Pretrained:
    """The parts of a model, as its files hold them.

    Attributes
    ----------
    architecture : str
        A name that the core knows, such as "resnet50" or "resnet34d".
    state : dict of str to numpy.ndarray
        Native names, float32, C-contiguous.
    preprocess : Preprocess
        How images become its input.
    class_names : list of str or None
    species_names : dict
        (common name, scientific name) by label.
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
    calibration : dict or None
        ``bias, score, margin`` of the probability that the gallery's nearest species is right.
    gallery : Gallery or None
        The gallery itself, of a model in memory.
    ranges : (convolutions,) float32 or None
        How far from 0 each convolution's output goes, of a model that was quantized.
    """

    architecture: str
    state: dict[str, np.ndarray]
    preprocess: Preprocess = field(default_factory=Preprocess)
    class_names: list[str] | None = None
    species_names: SpeciesNames = field(default_factory=dict)
    pooling: str = "avg"
    projection: Projection | None = None
    project_by_default: bool = False
    training: dict[str, Any] = field(default_factory=dict)
    trunk_digest: str | None = None
    fingerprint: str | None = None
    source: str = ""
    threshold: float | None = None
    gallery_path: Path | None = None
    calibration: dict[str, float] | None = None
    gallery: Any = None
    ranges: np.ndarray | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 without a head."""
        return int(self.state["fc.weight"].shape[0]) if "fc.weight" in self.state else 0

    def with_fingerprint(self) -> Pretrained:
        """Compute the digests that are missing, and return self."""
        if self.trunk_digest is None:
            self.trunk_digest = trunk_digest(self.state, self.architecture)
        if self.fingerprint is None:
            used = self.projection if self.project_by_default else None
            self.fingerprint = fingerprint_of(
                self.trunk_digest, self.pooling, used, self.preprocess, self.ranges
            )
        return self

    def stored_as(self, dtype: str) -> Pretrained:
        """Return the model as it is after storing its weights in a dtype and loading them.

        Where nothing is lost, that is `self`.
        """
        if check_dtype(dtype) == "float32":
            return self
        state = rounded(self.state, dtype)
        if all(np.array_equal(state[name], self.state[name]) for name in state):
            return self
        return replace(self, state=state, trunk_digest=None, fingerprint=None).with_fingerprint()


def file_in(folder: Path, name: str) -> Path:
    """Return the path of a model folder's file: where a save has just put it, or its place."""
    committed = folder / COMMITTED / name
    return committed if committed.is_file() else folder / name


def check_fingerprint(pretrained: Pretrained) -> str:
    """Recompute a model's fingerprint and compare it with the one in its config.json.

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
        ranges=pretrained.ranges,
    ).with_fingerprint()
    assert fresh.fingerprint is not None
    if pretrained.fingerprint is not None and fresh.fingerprint != pretrained.fingerprint:
        raise WeightsError(
            f"{pretrained.source}: config.json names the fingerprint "
            f"{pretrained.fingerprint[:16]}..., its files have {fresh.fingerprint[:16]}...: "
            "they were changed after they were saved"
        )
    return fresh.fingerprint
