"""The contents of a model folder."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from birdembed._core import WeightsError
from birdembed.base.files import KeptFile
from birdembed.base.species_names import SpeciesNames
from birdembed.images.preprocess import Preprocess
from birdembed.pretrained.fingerprint import fingerprint_of, trunk_digest
from birdembed.weights.projection import Projection
from birdembed.weights.storing import check_dtype, rounded

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PROJECTION = "projection.safetensors"
GALLERY = "gallery.safetensors"
PREPROCESSOR = "preprocessor_config.json"  # of transformers
#: In the order in which they are tried.
WEIGHT_FILES = (WEIGHTS, "pytorch_model.bin")
COMMITTED = ".saved"  # a complete save, whose files are about to be moved to their places
FORMAT = 1  # version of the object "birdembed" in config.json


@dataclass
class Pretrained:
    """The parts of a model, as stored in its files.

    Attributes
    ----------
    architecture : str
        A name that the core knows, such as "resnet50" or "resnet34d".
    state : dict of str to numpy.ndarray
        Native names; float32, or float16 as read from a file; C-contiguous.
    preprocess : Preprocess
        Preprocessing of images.
    class_names : list of str or None
        Names of the rows of the head.
    species_names : dict
        (common name, scientific name) by label.
    pooling : str
        "avg" or "gem": pooling of embeddings without a projection.
    projection : Projection or None
    project_by_default : bool
        Whether `encode` applies the projection by default. It does not for SSCD.
    training : dict
        Training record, JSON values.
    trunk_digest, fingerprint : str or None
        Results of `trunk_digest` and `fingerprint_of`; None if not stored in a file yet.
    source : str
        Origin of the model, for display.
    threshold : float or None
        Minimum score at which `identify` counts a species as known.
    gallery_file : KeptFile or None
        File of the gallery, an `Index`.
    calibration : dict or None
        ``bias, score, margin`` of the probability that the nearest species is right.
    gallery : Gallery or None
        The gallery of a model in memory.
    ranges : (convolutions + 1,) float32 or None
        Largest absolute output of each convolution, and of a pixel, for a quantized model.
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
    gallery_file: KeptFile | None = None
    calibration: dict[str, float] | None = None
    gallery: Any = None
    ranges: np.ndarray | None = None

    @property
    def num_classes(self) -> int:
        """The number of classes, 0 without a head."""
        return int(self.state["fc.weight"].shape[0]) if "fc.weight" in self.state else 0

    def with_fingerprint(self) -> Pretrained:
        """Compute missing digests, and return self."""
        if self.trunk_digest is None:
            self.trunk_digest = trunk_digest(self.state, self.architecture)
        if self.fingerprint is None:
            used = self.projection if self.project_by_default else None
            self.fingerprint = fingerprint_of(
                self.trunk_digest, self.pooling, used, self.preprocess, self.ranges
            )
        return self

    def stored_as(self, dtype: str) -> Pretrained:
        """Return the model as it would be after storing its weights in a dtype and loading them.

        Returns `self` if the weights do not change.
        """
        if check_dtype(dtype) == "float32":
            return self
        state = rounded(self.state, dtype)
        if all(np.array_equal(state[name], self.state[name]) for name in state):
            return self
        return replace(self, state=state, trunk_digest=None, fingerprint=None).with_fingerprint()


def file_in(folder: Path, name: str) -> Path:
    """Return the path of a file of a model folder, also if a save has not moved it yet."""
    committed = folder / COMMITTED / name
    return committed if committed.is_file() else folder / name


def check_fingerprint(pretrained: Pretrained) -> str:
    """Recompute the fingerprint of a model and compare it with the one in its config.json.

    Returns
    -------
    str
        The fingerprint.

    Raises
    ------
    WeightsError
        They differ, because a file was changed after it was saved.
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
            f"{pretrained.source}: config.json has the fingerprint "
            f"{pretrained.fingerprint[:16]}..., but the files have {fresh.fingerprint[:16]}...; "
            "they were changed after they were saved"
        )
    return fresh.fingerprint
