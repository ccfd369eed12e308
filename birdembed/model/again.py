"""Load the model of an index."""

from __future__ import annotations

from birdembed._core import FingerprintMismatch, WeightsError
from birdembed.base.makers import Maker
from birdembed.model.load import load_model
from birdembed.model.model import Model
from birdembed.model.stateful import snapshot_of

_ADVICE = "pass the model to use (model=, --model), or build the index again"


def load_maker(maker: Maker, fingerprint: str | None) -> Model:
    """Load the model that made an index, and check that it is the same.

    Raises
    ------
    WeightsError
        The model no longer exists, or was never saved.
    FingerprintMismatch
        The model has changed since the index was made.
    """
    name, _, revision = maker.name.partition("@")
    try:
        if maker.path is not None:
            model = load_model(maker.path)
        else:
            model = load_model(name, revision=revision or None)
        if fingerprint in (None, model.fingerprint):
            return model
        if model.projection is not None and not snapshot_of(model).default_projection:
            # The model may have used a projection when the index was made.
            projecting = load_model(maker.path or name, revision=revision or None, projection=True)
            if projecting.fingerprint == fingerprint:
                return projecting
    except (WeightsError, OSError, ImportError, ValueError) as error:
        raise WeightsError(
            f"the index was made with the model {maker}, which cannot be loaded ({error}); "
            f"{_ADVICE}"
        ) from error
    raise FingerprintMismatch(
        f"the index was made with the model {maker}, fingerprint {str(fingerprint)[:12]}, but "
        f"this model was changed or replaced and now has the fingerprint {model.fingerprint[:12]}; "
        f"{_ADVICE}"
    )
