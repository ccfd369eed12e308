"""The network in the C core, and checks of the parts of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from birdembed import _core
from birdembed.base.checks import check_integer
from birdembed.base.text import composed, shown
from birdembed.pretrained.fingerprint import trunk_digest

MAX_CLASSES = 1 << 20  # the same as in csrc/model/resnet.c


class Trunk:
    """A network in the C core, and the digest of its weights without the head.

    `ranges` is the largest absolute output of each convolution, and at the end the largest absolute
    pixel; needed for int8, None if unknown.
    """

    def __init__(
        self,
        architecture: str,
        state: Mapping[str, np.ndarray],
        digest: str | None = None,
        ranges: np.ndarray | None = None,
    ) -> None:
        self.num_classes = int(state["fc.weight"].shape[0]) if "fc.weight" in state else 0
        self.names = [name for name, _ in _core.parameter_table(architecture, self.num_classes)]
        self.network = _core.Network(
            architecture, self.num_classes, [state[name] for name in self.names], ranges
        )
        self.ranges = ranges
        self._digest = digest

    @classmethod
    def of_network(cls, network: Any) -> Trunk:
        """Wrap a network that the core created from the weights of a trainer."""
        trunk = cls.__new__(cls)
        trunk.num_classes = int(network.num_classes)
        table = _core.parameter_table(network.architecture, trunk.num_classes)
        trunk.names = [name for name, _ in table]
        trunk.network = network
        trunk.ranges = None
        trunk._digest = None
        return trunk

    def with_ranges(self, ranges: np.ndarray) -> Trunk:
        """Return a trunk of the same weights that can compute in int8."""
        return Trunk(self.network.architecture, self.state(), self.digest, ranges)

    def state(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters by name."""
        return dict(zip(self.names, self.network.parameters(), strict=True))

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of the weights without the head, computed on first use."""
        return self._digest or trunk_digest(self.state(), self.network.architecture)


def check_num_classes(num_classes: int) -> int:
    """Return the number of classes as an int.

    Raises
    ------
    TypeError, ValueError
        The value is not an integer, or out of range.
    """
    return check_integer("num_classes", num_classes, 0, MAX_CLASSES)


def check_class_names(names: Sequence[str] | None, num_classes: int) -> list[str] | None:
    """Return the class names as a list.

    Raises
    ------
    ValueError
        The number of names differs from the number of classes, or a name occurs twice.
    """
    if names is None:
        return None
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise TypeError(f"class_names must be a sequence of names, got {shown(names)}")
    given = list(names)
    wrong = next((name for name in given if not isinstance(name, (str, int, np.integer))), None)
    if wrong is not None or None in given:
        raise TypeError(f"class_names must hold names (str), got {shown(wrong)}")
    names = [composed(str(name)) for name in given]
    if len(names) != num_classes:
        raise ValueError(f"class_names has {len(names)} names for {num_classes} classes")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ValueError(f"class_names has {twice[0]!r} twice; names must be unique")
    return names
