"""Remember which model made something, and load that model again."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Maker:
    """The model that embeddings come from.

    Attributes
    ----------
    name : str
        What `load_model` takes, the name of a folder, or how the model was made.
    path : str or None
        The folder of the model, None where it comes from no folder.
    """

    name: str
    path: str | None = None

    @classmethod
    def of(cls, model: Any) -> Maker | None:
        """Return the record of a model; None where it does not say where it comes from."""
        source = getattr(model, "source", None)
        if not isinstance(source, str) or not source:
            return None
        if not os.path.exists(source):
            return cls(source)
        path = os.path.abspath(source)
        return cls(os.path.basename(path), path)

    def __str__(self) -> str:
        """Return the name and the place of the model for a message."""
        return self.name if self.path is None else f"{self.name} ({self.path})"


#: Loads the model of a maker with a fingerprint. The face of the package puts it here, since
#: folders that keep embeddings know nothing of the one that loads models.
_load: list[Callable[[Maker, str | None], Any]] = []


def set_loader(load: Callable[[Maker, str | None], Any]) -> None:
    """Say what `load_again` calls."""
    _load[:] = [load]


def load_again(maker: Maker, fingerprint: str | None) -> Any:
    """Load the model that made something.

    Parameters
    ----------
    maker : Maker
    fingerprint : str or None
        The fingerprint that the model has to have, None: any.

    Raises
    ------
    WeightsError
        It cannot be loaded.
    FingerprintMismatch
        It has changed since.
    """
    return _load[0](maker, fingerprint)


def named(model: Any, what: str) -> str:
    """Return what to call a model in a message: "the model", and its name where it has one."""
    maker = Maker.of(model)
    return what if maker is None else f"{what} {maker}"
