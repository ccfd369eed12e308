"""What a model is at one moment: immutable, so that calls in flight are never disturbed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from birdembed import _core
from birdembed._option_checks import check_integer
from birdembed._pixels import Preprocess
from birdembed._pretrained import Pretrained, fingerprint_of, trunk_digest
from birdembed._projection import Projection

if TYPE_CHECKING:
    from birdembed._identify import Gallery

FEATURES = 2048
_MAX_CLASSES = 1 << 20  # csrc/model/resnet.c has the same


class Trunk:
    """The weights as the C core holds them, and the digest of all but the head."""

    def __init__(
        self, architecture: str, state: Mapping[str, np.ndarray], digest: str | None = None
    ) -> None:
        self.num_classes = int(state["fc.weight"].shape[0]) if "fc.weight" in state else 0
        self.names = [name for name, _ in _core.parameter_table(architecture, self.num_classes)]
        self.network = _core.Network(
            architecture, self.num_classes, [state[name] for name in self.names]
        )
        self._digest = digest

    @classmethod
    def of_network(cls, network: Any) -> Trunk:
        """Take over a network that the core made, a trainer's snapshot."""
        trunk = cls.__new__(cls)
        trunk.num_classes = int(network.num_classes)
        table = _core.parameter_table(network.architecture, trunk.num_classes)
        trunk.names = [name for name, _ in table]
        trunk.network = network
        trunk._digest = None
        return trunk

    def state(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters by name."""
        return dict(zip(self.names, self.network.parameters(), strict=True))

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of the weights without the head, computed when first asked for."""
        return self._digest or trunk_digest(self.state(), self.network.architecture)


@dataclass(frozen=True)
class Snapshot:
    """One state of a model. Fields as `Pretrained` has them."""

    trunk: Trunk
    preprocess: Preprocess
    class_names: list[str] | None = None
    pooling: str = "avg"
    projection: Projection | None = None
    project_by_default: bool = False
    training: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    threshold: float | None = None
    gallery: Gallery | None = None

    @classmethod
    def of(cls, given: Pretrained) -> Snapshot:
        """Take over what a file or a converter gave."""
        return cls(
            trunk=Trunk(given.architecture, given.state, given.trunk_digest),
            preprocess=given.preprocess,
            class_names=given.class_names,
            pooling=given.pooling,
            projection=given.projection,
            project_by_default=given.project_by_default,
            training=given.training,
            source=given.source,
            threshold=given.threshold,
            gallery=_gallery(given),
        )

    def pretrained(self) -> Pretrained:
        """Return the form that is written to files."""
        return Pretrained(
            architecture=self.architecture,
            state=self.trunk.state(),
            preprocess=self.preprocess,
            class_names=self.class_names,
            pooling=self.pooling,
            projection=self.projection,
            project_by_default=self.project_by_default,
            training=self.training,
            trunk_digest=self.trunk.digest,
            fingerprint=self.fingerprint,
            source=self.source,
            threshold=self.threshold,
            gallery=self.gallery,
        )

    def with_state(self, state: Mapping[str, np.ndarray], **changes: Any) -> Snapshot:
        """Return a snapshot with other weights; the trunk's digest is computed afresh."""
        return replace(self, trunk=Trunk(self.architecture, state), **changes)

    @property
    def architecture(self) -> str:
        """Name of the network."""
        return self.trunk.network.architecture

    @property
    def num_classes(self) -> int:
        """Rows of the head, 0 without one."""
        return self.trunk.num_classes

    @property
    def default_projection(self) -> Projection | None:
        """The projection that `encode` applies unless told otherwise."""
        return self.projection if self.project_by_default else None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 that names the space of this snapshot's default embeddings."""
        return fingerprint_of(
            self.trunk.digest, self.pooling, self.default_projection, self.preprocess
        )

    def chosen(self, projection: bool | None) -> Projection | None:
        """Return the projection for a call's `projection=`.

        Raises
        ------
        ValueError
            One is asked for and there is none.
        """
        if projection is None:
            return self.default_projection
        if projection and self.projection is None:
            raise ValueError(
                "projection=True, but this model has no projection: fit_projection makes one, "
                "load_model('sscd') brings one"
            )
        return self.projection if projection else None

    def dim(self, projection: Projection | None) -> int:
        """Length of an embedding with that projection."""
        return FEATURES if projection is None else projection.dim

    def features(
        self, pixels: np.ndarray, gem: bool, num_threads: int, mirrored: np.ndarray | None = None
    ) -> np.ndarray:
        """Return pooled features ``(n, 2048)``; with `mirror`, the mean over both images.

        `mirrored` is the input of the mirror images; without it `pixels` are flipped.
        """
        features = self.trunk.network.features(pixels, gem, num_threads)
        if self.preprocess.mirror:
            if mirrored is None:
                mirrored = np.ascontiguousarray(pixels[..., ::-1])
            features += self.trunk.network.features(mirrored, gem, num_threads)
            features *= np.float32(0.5)
        return features

    def embed(
        self,
        pixels: np.ndarray,
        projection: Projection | None,
        num_threads: int,
        mirrored: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return embeddings ``(n, dim)`` of network input ``(n, 3, h, w)``; see `features`."""
        pooling = self.pooling if projection is None else projection.pooling
        features = self.features(pixels, pooling == "gem", num_threads, mirrored)
        if projection is None:
            return features
        # Not NumPy's product: its last bits change with the number of rows.
        return _core.linear(features - projection.mean, projection.rows)

    def logits(
        self, pixels: np.ndarray, num_threads: int, mirrored: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the head's output ``(n, classes)``; the head sees average-pooled features."""
        return self.trunk.network.head(self.features(pixels, False, num_threads, mirrored))


def _gallery(given: Pretrained) -> Gallery | None:
    if given.gallery is not None or given.gallery_path is None:
        return given.gallery
    from birdembed._identify import Gallery

    return Gallery(path=given.gallery_path)


def random_state(architecture: str, num_classes: int, seed: int) -> dict[str, np.ndarray]:
    """Return fresh weights, as torchvision initialises them.

    Convolutions: normal, variance 2 / (out channels x kernel area) (He et al. 2015, fan out).
    Batch norms: the identity. Head: `random_head`.
    """
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in _core.parameter_table(architecture, 0):
        if len(shape) == 4:
            scale = np.float32(math.sqrt(2.0 / (shape[0] * shape[2] * shape[3])))
            state[name] = rng.standard_normal(shape, np.float32) * scale
        else:
            one = name.endswith((".weight", ".running_var"))
            state[name] = np.full(shape, one, np.float32)
    if num_classes:
        state |= random_head(num_classes, seed)
    return state


def random_head(num_classes: int, seed: int) -> dict[str, np.ndarray]:
    """Return a fresh head: uniform within +-1 / sqrt(2048), torch's default for a linear layer."""
    rng = np.random.default_rng([seed, 1])
    bound = 1 / math.sqrt(FEATURES)
    return {
        "fc.weight": rng.uniform(-bound, bound, (num_classes, FEATURES)).astype(np.float32),
        "fc.bias": rng.uniform(-bound, bound, num_classes).astype(np.float32),
    }


def check_num_classes(num_classes: int) -> int:
    """Return the number as an int.

    Raises
    ------
    TypeError, ValueError
        It is none, or out of range.
    """
    return check_integer("num_classes", num_classes, 0, _MAX_CLASSES)


def check_class_names(names: Sequence[str] | None, num_classes: int) -> list[str] | None:
    """Return the names as a list.

    Raises
    ------
    ValueError
        There are not as many as classes, or two are the same.
    """
    if names is None:
        return None
    names = [str(name) for name in names]
    if len(names) != num_classes:
        raise ValueError(f"class_names has {len(names)} names for {num_classes} classes")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ValueError(f"class_names has {twice[0]!r} twice: each class needs a name of its own")
    return names
