"""Convert a model to plain values for pickling, and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from birdembed.images.preprocess import Preprocess
from birdembed.pretrained.contents import Pretrained
from birdembed.weights.projection import Projection

#: Fields of `Pretrained` that already are plain values.
_PLAIN = (
    *("architecture", "class_names", "species_names", "pooling", "project_by_default", "training"),
    *("trunk_digest", "fingerprint", "source", "threshold", "ranges"),
)


def plain_values(given: Pretrained) -> dict[str, Any]:
    """Return the contents of a model as numbers, strings, arrays, and lists and dicts of them.

    The weights are the bytes of a safetensors file.
    """
    from safetensors.numpy import save

    projection, gallery = given.projection, given.gallery
    return {
        **{name: getattr(given, name) for name in _PLAIN},
        "weights": save(given.state),
        "preprocess": asdict(given.preprocess),
        "projection": None
        if projection is None
        else (projection.pooling, projection.mean, projection.matrix),
        "gallery": None if gallery is None else gallery.__getstate__(),
    }


def from_plain_values(values: dict[str, Any]) -> Pretrained:
    """Return the contents for values from `plain_values`."""
    from safetensors.numpy import load

    projection, gallery = values["projection"], values["gallery"]
    if gallery is not None:
        from birdembed.species.gallery import Gallery

        gallery = Gallery.from_state(gallery)
    return Pretrained(
        **{name: values[name] for name in _PLAIN},
        state=load(values["weights"]),
        preprocess=Preprocess(**values["preprocess"]),
        projection=None if projection is None else Projection(*projection),
        gallery=gallery,
    )
