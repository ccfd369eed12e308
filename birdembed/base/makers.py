"""Remember which model computed some embeddings, and load that model again."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Maker:
    """The model that computed some embeddings.

    Attributes
    ----------
    name : str
        Name for `load_model`, name of a folder, or a description of the origin.
    path : str or None
        Folder of the model, or None if it was not loaded from a folder.
    """

    name: str
    path: str | None = None

    @classmethod
    def of(cls, model: Any) -> Maker | None:
        """Return the record of a model, or None if its origin is unknown."""
        source = getattr(model, "source", None)
        if not isinstance(source, str) or not source:
            return None
        if not os.path.exists(source):
            return cls(source)
        path = os.path.abspath(source)
        return cls(os.path.basename(path), path)

    def __str__(self) -> str:
        """Return the name and the folder of the model for a message."""
        return self.name if self.path is None else f"{self.name} ({self.path})"


def name_of_source(source: str) -> str:
    """Return the source of a model without its folder, for texts that leave this machine."""
    is_path = os.path.isabs(source) or os.path.exists(source)
    return os.path.basename(os.path.abspath(source)) if is_path else source


#: Loads the model of a maker with a fingerprint. `birdembed/__init__.py` sets it, because folders
#: that store embeddings must not import the one that loads models.
_load: list[Callable[[Maker, str | None], Any]] = []


def set_loader(load: Callable[[Maker, str | None], Any]) -> None:
    """Set the function that `load_again` calls."""
    _load[:] = [load]


def load_again(maker: Maker, fingerprint: str | None) -> Any:
    """Load the model of a maker.

    Parameters
    ----------
    maker : Maker
    fingerprint : str or None
        Required fingerprint of the model; None accepts any.

    Raises
    ------
    WeightsError
        The model cannot be loaded.
    FingerprintMismatch
        The model has another fingerprint.
    """
    return _load[0](maker, fingerprint)


def named(model: Any, what: str) -> str:
    """Return a description of a model for a message: `what`, with its name if it has one."""
    maker = Maker.of(model)
    return what if maker is None else f"{what} {maker}"
