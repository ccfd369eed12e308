"""The snapshot inside a model, for the packages that put another in its place.

Training and the integrations change a model as a whole: they hold `writing` while they work, read
`snapshot_of` and put what they made back with `set_snapshot`. No other place outside of this folder
knows how a model keeps its snapshot.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from birdembed.model.model import Model

if TYPE_CHECKING:
    from birdembed.model.snapshot import Snapshot
    from birdembed.pretrained.contents import Pretrained


def model_of(given: Pretrained) -> Model:
    """Return a model of what a folder or a checkpoint holds."""
    return Model._of(given)


def snapshot_of(model: Model) -> Snapshot:
    """Return the present state of a model, which never changes itself."""
    return model._current


def set_snapshot(model: Model, snapshot: Snapshot) -> None:
    """Put another state in place of the present one; the caller holds `writing`."""
    model._current = snapshot


def writing(model: Model, what: str) -> AbstractContextManager[None]:
    """Be the only one who changes a model.

    Parameters
    ----------
    model : Model
    what : str
        Who wants to, for the message of the error.

    Raises
    ------
    BirdembedError
        Another call is changing it.
    """
    return model._writing(what)
