"""An immutable state of a model, which runs its network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from birdembed import _core
from birdembed.base.checks import check_boolean
from birdembed.base.species_names import SpeciesNames
from birdembed.images.preprocess import Preprocess
from birdembed.model.network import Trunk
from birdembed.model.precision import IMAGES, Choice, chosen, known_choice
from birdembed.pretrained.contents import Pretrained
from birdembed.pretrained.fingerprint import fingerprint_of
from birdembed.weights.projection import Projection

if TYPE_CHECKING:
    from birdembed.species.gallery import Gallery


@dataclass(frozen=True)
class Snapshot:
    """A state of a model: the fields of `Pretrained`, and the precision."""

    trunk: Trunk
    preprocess: Preprocess
    class_names: list[str] | None = None
    species_names: SpeciesNames = field(default_factory=dict)
    pooling: str = "avg"
    projection: Projection | None = None
    project_by_default: bool = False
    training: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    threshold: float | None = None
    gallery: Gallery | None = None
    #: "float32", "bfloat16", "int8", or "auto", which `computed_in` resolves on the first images.
    precision: str = "float32"

    def __post_init__(self) -> None:
        """Use float32 instead of int8 if new weights, such as from training, have no ranges."""
        if self.precision == "int8" and not self.is_quantized:
            object.__setattr__(self, "precision", "float32")

    @classmethod
    def of(cls, given: Pretrained, precision: str = "float32") -> Snapshot:
        """Create a snapshot from the contents of a model."""
        return cls(
            trunk=Trunk(given.architecture, given.state, given.trunk_digest, given.ranges),
            preprocess=given.preprocess,
            class_names=given.class_names,
            species_names=given.species_names,
            pooling=given.pooling,
            projection=given.projection,
            project_by_default=given.project_by_default,
            training=given.training,
            source=given.source,
            threshold=given.threshold,
            gallery=_gallery(given),
            precision=precision,
        )

    def pretrained(self) -> Pretrained:
        """Return the contents, to be written to files."""
        return Pretrained(
            architecture=self.architecture,
            state=self.trunk.state(),
            preprocess=self.preprocess,
            class_names=self.class_names,
            species_names=self.species_names,
            pooling=self.pooling,
            projection=self.projection,
            project_by_default=self.project_by_default,
            training=self.training,
            trunk_digest=self.trunk.digest,
            fingerprint=self.fingerprint,
            source=self.source,
            threshold=self.threshold,
            calibration=None if self.gallery is None else self.gallery.calibration_values(),
            gallery=self.gallery,
            ranges=self.trunk.ranges,
        )

    def with_state(
        self, state: Mapping[str, np.ndarray], ranges: np.ndarray | None = None, **changes: Any
    ) -> Snapshot:
        """Return a snapshot with other weights; their digest is computed on first use."""
        trunk = Trunk(self.architecture, state, ranges=ranges)
        return replace(self, trunk=trunk, **changes)

    def quantized(self, trunk: Trunk, source: str) -> Snapshot:
        """Return a snapshot that computes in int8, with a trunk that has ranges.

        The gallery of this snapshot is kept.
        """
        changed = replace(self, trunk=trunk, precision="int8", source=source)
        if self.gallery is None:
            return changed
        gallery = self.gallery.renamed(self.fingerprint, changed.fingerprint)
        return replace(changed, gallery=gallery)

    @property
    def architecture(self) -> str:
        """The name of the network."""
        return self.trunk.network.architecture

    @property
    def num_classes(self) -> int:
        """The number of classes, 0 without a head."""
        return self.trunk.num_classes

    @property
    def is_quantized(self) -> bool:
        """Whether the network can compute in int8, if the processor supports it."""
        return self.trunk.ranges is not None

    @property
    def default_projection(self) -> Projection | None:
        """The projection that `encode` applies by default."""
        return self.projection if self.project_by_default else None

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 that identifies the space of the default embeddings."""
        return fingerprint_of(
            self.trunk.digest,
            self.pooling,
            self.default_projection,
            self.preprocess,
            self.trunk.ranges,
        )

    def chosen(self, projection: bool | None) -> Projection | None:
        """Return the projection for an argument `projection=`.

        Raises
        ------
        ValueError
            It is True, and there is no projection.
        """
        if projection is None:
            return self.default_projection
        projection = check_boolean("projection", projection)
        if projection and self.projection is None:
            raise ValueError(
                "projection=True, but this model has no projection; fit one with fit_projection, "
                "or use load_model('sscd'), which has one"
            )
        return self.projection if projection else None

    def dim(self, projection: Projection | None) -> int:
        """Return the dimension of embeddings with this projection."""
        return self.trunk.network.num_features if projection is None else projection.dim

    def features(
        self, pixels: np.ndarray, gem: bool, num_threads: int, mirrored: np.ndarray | None = None
    ) -> np.ndarray:
        """Return pooled features ``(n, channels)``; with `mirror`, the mean over both images.

        `mirrored` is the input for the mirror images; by default `pixels` are flipped.
        """
        precision = self.computed_in(pixels, num_threads, mirrored)
        return self._features(pixels, gem, num_threads, mirrored, precision)

    def _features(
        self,
        pixels: np.ndarray,
        gem: bool,
        num_threads: int,
        mirrored: np.ndarray | None,
        precision: str,
    ) -> np.ndarray:
        """Return `features`, computed in a given precision."""
        features = self.trunk.network.features(pixels, gem, num_threads, precision)
        if self.preprocess.mirror:
            if mirrored is None:
                mirrored = np.ascontiguousarray(pixels[..., ::-1])
            features += self.trunk.network.features(mirrored, gem, num_threads, precision)
            features *= np.float32(0.5)
        return features

    def maps(self, pixels: np.ndarray, num_threads: int) -> np.ndarray:
        """Return the last feature maps ``(n, channels, h / 32, w / 32)``, without `mirror`."""
        precision = self.computed_in(pixels, num_threads)
        return self.trunk.network.maps(pixels, num_threads, precision)

    @property
    def choice(self) -> Choice | None:
        """The choice for "auto", or None if it is not made yet."""
        return known_choice(self.fingerprint)

    def computed_in(
        self, pixels: np.ndarray, num_threads: int, mirrored: np.ndarray | None = None
    ) -> str:
        """Return the precision to use; resolve "auto" on these images if it is still open."""
        if self.precision != "auto":
            return self.precision
        if not len(pixels):
            return "float32"
        projection = self.default_projection

        def embed(precision: str) -> np.ndarray:
            flipped = None if mirrored is None else mirrored[:IMAGES]
            features = self._features(
                pixels[:IMAGES], self._gem(projection), num_threads, flipped, precision
            )
            return _projected(features, projection)

        return chosen(self.fingerprint, embed, self.is_quantized).precision

    def embed(
        self,
        pixels: np.ndarray,
        projection: Projection | None,
        num_threads: int,
        mirrored: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return embeddings ``(n, dim)`` of network input ``(n, 3, h, w)``; see `features`."""
        features = self.features(pixels, self._gem(projection), num_threads, mirrored)
        return _projected(features, projection)

    def embed_and_classify(
        self,
        pixels: np.ndarray,
        projection: Projection | None,
        num_threads: int,
        mirrored: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return embeddings and the output of the head from one pass.

        GeM-pooled embeddings need two passes, because a pass computes only one kind of pooling.
        """
        averages = self.features(pixels, False, num_threads, mirrored)
        features = averages
        if self._gem(projection):
            features = self.features(pixels, True, num_threads, mirrored)
        return _projected(features, projection), self.trunk.network.head(averages)

    def _gem(self, projection: Projection | None) -> bool:
        """Return whether embeddings with this projection are GeM-pooled."""
        return (self.pooling if projection is None else projection.pooling) == "gem"

    def logits(
        self, pixels: np.ndarray, num_threads: int, mirrored: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the output of the head ``(n, classes)``; it uses average-pooled features."""
        return self.trunk.network.head(self.features(pixels, False, num_threads, mirrored))


def _projected(features: np.ndarray, projection: Projection | None) -> np.ndarray:
    """Return features, projected if there is a projection."""
    if projection is None:
        return features
    # Not the NumPy product, whose last bits depend on the number of rows.
    return _core.linear(features - projection.mean, projection.rows)


def precision_note(now: Snapshot) -> str:
    """Return a note on the precision for the text of a model; "" for float32."""
    if now.precision != "auto":
        return "" if now.precision == "float32" else f", {now.precision}"
    return ", auto" if now.choice is None else f", auto: {now.choice.precision}"


def _gallery(given: Pretrained) -> Gallery | None:
    """Return the given gallery, or one that reads its file on first use."""
    if given.gallery is not None or given.gallery_file is None:
        return given.gallery
    from birdembed.species.calibration import Calibration
    from birdembed.species.gallery import Gallery

    calibration = Calibration.from_values(given.calibration)
    return Gallery(file=given.gallery_file, calibration=calibration)
