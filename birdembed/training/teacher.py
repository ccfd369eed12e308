"""The embeddings of a teacher: rows of an array, or the result of a callable for a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.vectors import as_array


def check_targets(targets: Any, images: int, mixed: bool, features: int | None = None) -> None:
    """Check the targets against the data.

    Parameters
    ----------
    targets : (n, d) array, or callable
    images : int
    mixed : bool
        Whether the images of a batch are mixed (mixup or CutMix).
    features : int, optional
        Number of the model's features, if they are trained to be the targets.

    Raises
    ------
    ValueError
        An array does not have one row per image or one column per feature, or an array is given
        and images are mixed.
    """
    if callable(targets):
        return
    if len(targets) != images:
        raise ValueError(
            f"targets of Distill have {len(targets)} rows for {images} images of train; give one "
            "row per image, in the order of train.paths"
        )
    if mixed:
        raise ValueError(
            "mixup and cutmix mix images, but an array of targets has no rows for mixed images; "
            "pass a callable to Distill, or turn off mixup and cutmix"
        )
    if features is not None:
        check_width(targets.shape[1], features)


def check_width(targets: int, features: int) -> None:
    """Raise a ValueError if targets for the features themselves have other dimensions."""
    if targets != features:
        raise ValueError(
            f"targets of Distill with form='features' have {targets} dimensions, but the model has "
            f"{features} features; use form='map', which learns a map to the targets"
        )


def check_same_width(now: int, before: int) -> None:
    """Raise a ValueError if a teacher returned other dimensions than the map was fitted to."""
    if now != before:
        raise ValueError(
            f"targets of Distill have {now} dimensions, but had {before} in the batches before; "
            "use one teacher for the whole training"
        )


def rows_of(targets: Any, batch: Any) -> NDArray[np.float32]:
    """Return the targets ``(n, d)`` of a batch, rows of length 1 or NaN.

    Raises
    ------
    TypeError, ValueError
        A callable did not return one embedding per image, or the batch has no positions to look
        up.
    """
    if not callable(targets):
        if batch.positions is None:
            raise ValueError(
                "Distill looks up its targets by the positions of the images in train, but this "
                "batch has none; call Trainer.step(x, y, positions=...)"
            )
        return np.asarray(targets[batch.positions], np.float32)
    pixels = batch.pixels
    given = checked_rows(targets(pixels), "the embeddings that targets returned")
    if len(given) != len(pixels):
        raise ValueError(f"targets returned {len(given)} embeddings for {len(pixels)} images")
    return given


def checked_rows(given: Any, name: str) -> NDArray[np.float32]:
    """Return embeddings as float32 rows of length 1; rows of NaN are kept.

    Raises
    ------
    TypeError, ValueError
        The embeddings are not a two-dimensional numeric array, values are masked, or a row has no
        direction.
    """
    array = as_array(given, name)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be numbers (n, d), got dtype {array.dtype}")
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(f"{name} must have the shape (n, d), got {array.shape}")
    wide = array.astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide, dtype=np.float64))
    absent = np.isnan(wide).all(axis=1)
    bad = np.flatnonzero(~absent & ~(np.isfinite(lengths) & (lengths > 0)))
    if len(bad):
        raise ValueError(
            f"{name}: row {bad[0]} is all zero or not finite; use a row of NaN for an image "
            "without a target"
        )
    lengths[absent] = 1
    wide /= lengths.astype(np.float32)[:, None]
    wide.flags.writeable = False
    return wide
