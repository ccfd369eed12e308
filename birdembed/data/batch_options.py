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
    """Options for making training batches from a dataset.

    Parameters
    ----------
    batch_size : int
    preprocess : Preprocess
        Normalisation and interpolation. Its fit and crop are only used if `augment` is None.
    augment : {None, "default", "turned", "robust", "strong"}
        ``None``: the same preprocessing as for encoding. ``"default"``: a random crop of 0.35 to
        1 of the area (aspect ratio 3:4 to 4:3), a random horizontal flip, a rotation of up to 20
        degrees, brightness 0.6 to 1.4, contrast 0.7 to 1.3, saturation 0.6 to 1.4. ``"turned"``:
        the same, and one image in four is rotated by 90 degrees to either side, for a model that
        has to recognise birds in any orientation. ``"robust"``: like ``"turned"``, with
        brightness 0.4 to 1.6, for a model that also has to recognise them in any light.
        ``"strong"``: the same crop and flip, then TrivialAugment (Mueller & Hutter 2021), and
        random erasing for a quarter of the images.
    mixup, cutmix : float
        ``alpha`` of the Beta(alpha, alpha) distribution from which the share of each image is
        sampled; the larger share goes to the image itself. 0 turns it off. If both are above 0,
        each batch uses one of them, with equal probability.
    balanced : bool
        Sample all classes equally often; the number of samples per epoch stays the same. Images
        of a small class are repeated (with different augmentation), and some images of a large
        class are left out. Images without a label appear once each.
    seed : int
    cache_bytes : int
        Maximum memory for decoded images, in bytes. Images are reduced to a short side of at most
        twice the training size (with `augment` None they stay as decoded), whether or not they
        fit into the cache.
    on_error : {"raise", "skip"}
        What to do if a file cannot be read: raise an error, or leave it out of all epochs, list
        it in `failures` and issue one warning.
    num_threads : int, optional
        Default: `set_num_threads`.
    num_classes : int, optional
        Number of columns of the targets. Default: the number of class names of the data.
    label_smoothing : float
        A target is ``1 - label_smoothing + label_smoothing / num_classes`` in its own class and
        ``label_smoothing / num_classes`` in all others.
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
