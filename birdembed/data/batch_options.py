"""Options of training batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from birdembed.base.checks import (
    BAD_FILES,
    LARGEST_MIX,
    check_choice,
    check_integer,
    check_number,
    check_threads,
)

if TYPE_CHECKING:
    from birdembed.images.preprocess import Preprocess

AUGMENTS = (None, "default", "turned", "robust", "strong")
CACHE_BYTES = 1 << 30


@dataclass(frozen=True)
class BatchOptions:
    """How training batches are made of a dataset.

    Parameters
    ----------
    batch_size : int
    preprocess : Preprocess
        Normalisation and interpolation; its fit and crop serve `augment` None only.
    augment : {None, "default", "turned", "robust", "strong"}
        ``None``: as for encoding. ``"default"``: a box of 0.35 to 1 of the area (3:4 to 4:3),
        mirrored or not, turned up to 20 degrees, brightness 0.6 to 1.4, contrast 0.7 to 1.3,
        saturation 0.6 to 1.4. ``"turned"``: the same, and one image in four lies on a side, for
        a model that has to know birds whichever way up they are. ``"robust"``: as ``"turned"``,
        with brightness 0.4 to 1.6, for one that has to know them in any light as well.
        ``"strong"``: the same box and mirroring, then TrivialAugment (Mueller & Hutter 2021) and
        for a quarter of the images random erasing.
    mixup, cutmix : float
        ``alpha`` of the Beta(alpha, alpha) from which each sample's share is drawn, the larger
        part its own; 0: not done; both above 0: one or the other, evenly.
    balanced : bool
        An epoch has as many samples as otherwise, but equally many of each class: a small class's
        images come several times (in other views), a large one's not all. Images without a
        label come once each.
    seed : int
    cache_bytes : int
        Most memory for decoded images. Images are kept with a short side of at most twice the
        training size (with `augment` None as decoded), whether or not they find room.
    on_error : {"raise", "skip"}
        What a file that cannot be read does: ``"raise"``, or ``"skip"``: it is left out of all
        epochs, listed in `failures`, and told of by one warning.
    num_threads : int, optional
        Default: `set_num_threads`.
    num_classes : int, optional
        Columns of the targets. Default: as many as the data has class names.
    label_smoothing : float
        A target is 1 - label_smoothing plus label_smoothing / num_classes in its own class, that
        last share in all others.
    """

    batch_size: int
    preprocess: Preprocess
    augment: str | None = "default"
    mixup: float = 0.0
    cutmix: float = 0.0
    balanced: bool = False
    seed: int = 0
    cache_bytes: int = CACHE_BYTES
    on_error: str = "skip"
    num_threads: int | None = None
    num_classes: int | None = None
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        """Check every field, and convert numbers to plain Python types."""
        check_choice("augment", self.augment, AUGMENTS)
        check_choice("on_error", self.on_error, BAD_FILES)
        check_threads(self.num_threads)
        checked = {
            "batch_size": check_integer("batch_size", self.batch_size, 1),
            "mixup": check_number("mixup", self.mixup, 0, LARGEST_MIX, False),
            "cutmix": check_number("cutmix", self.cutmix, 0, LARGEST_MIX, False),
            "balanced": bool(self.balanced),
            "seed": check_integer("seed", self.seed, 0),
            "label_smoothing": check_number("label_smoothing", self.label_smoothing, 0, 1),
            "cache_bytes": check_integer("cache_bytes", self.cache_bytes, 0),
        }
        if self.num_classes is not None:
            checked["num_classes"] = check_integer("num_classes", self.num_classes, 0)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
