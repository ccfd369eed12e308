"""A loss that trains a model to imitate the embeddings of another model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import check_choice, check_not_masked, check_number
from birdembed.base.public import public
from birdembed.training.cosine_loss import cosine_loss
from birdembed.training.similarity_loss import relation_loss
from birdembed.training.teacher import check_width, checked_rows, rows_of

FORMS = ("map", "relation", "features")
#: Measured with fixed features, 1,000 images, 2048 to 1280 dimensions, 300 steps: at the full rate
#: of 1e-3 the map overfits (cosine rises from 0.80 to 0.87, but falls from 0.72 to 0.69 on other
#: images); at a tenth of it, it hardly does (0.82, 0.71).
LR_FACTOR = 0.1


@public
@dataclass(frozen=True, eq=False, repr=False)
class Distill:
    """Loss that trains a model to imitate the embeddings of a teacher: knowledge distillation.

    Pass it to a training as ``loss=``, alone or in a list. It is added to the cross-entropy of the
    images that have labels, and needs no labels itself.

    Parameters
    ----------
    targets : array or callable
        The embeddings of the teacher. Either an array ``(n, d)`` with one row per image of the
        training data, in the same order; a row of NaN is an image without a target. Or a callable
        that gets the pixels of each batch, ``(n, 3, size, size)`` float32, RGB, with the
        augmentation that the model sees and the normalisation of its `preprocess`, and returns
        ``(n, d)``. With a callable, teacher and student see the same augmented images, which works
        better in a long training (Beyer et al. 2022). Only the directions of the embeddings
        matter, not their lengths.
    weight : float
        Factor of the loss and its gradient.
    form : {"map", "relation", "features"}
        ``"map"``: a linear map projects the features to the space of the teacher; the loss is 1
        minus the cosine similarity there. The map is fitted by ridge regression on the
        unaugmented images before the first step, then trained with the network. Afterwards it is
        the projection of the model (``encode(projection=True)``).
        ``"relation"``: there is no map. The similarities of each image to the others in its batch
        are trained to match those of the teacher.
        ``"features"``: the features are trained to be the targets, which need as many dimensions;
        the loss is 1 minus the cosine similarity. Vectors of the teacher and the trained model can
        then be compared, for example those of an earlier version of the model.
    temperature : float
        Divisor of the cosine similarities, for ``"relation"``.
    lr_factor : float
        Learning rate of the map as a fraction of `lr`, for ``"map"``; 0 keeps the map as fitted.

    Notes
    -----
    The map is scaled to a root mean square of ``1 / sqrt(features)``, which does not change cosine
    similarities, so that a learning rate has the same effect on it as on a layer. The map takes
    part in weight decay, gradient clipping and the moving average of the weights, and is stored in
    checkpoints.

    References
    ----------
    Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network"; Romero et al. 2015,
    "FitNets" (a map from the student's features to the teacher's); Beyer et al. 2022, "Knowledge
    distillation: A good teacher is patient and consistent"; Park et al. 2019, "Relational Knowledge
    Distillation"; Fang et al. 2021, "SEED: Self-supervised Distillation For Visual Representation"
    (similarities as a distribution); Shen et al. 2020, "Towards Backward-Compatible Representation
    Learning" (a new model whose vectors match those of an old one).

    Examples
    --------
    >>> import birdembed as be
    >>> teacher, student = be.load_model(), be.Model("resnet50")
    >>> train = be.ImageFolder("photos")
    >>> loss = be.Distill(teacher.encode(train), weight=2.0)  # any array (len(train), d)
    >>> history = be.fine_tune(student, train, epochs=1, image_size=96, loss=[loss, be.SupCon()])
    >>> vector = student.encode("unknown.jpg", projection=True)  # in the teacher's space
    """

    targets: Any
    weight: float = 1.0
    form: str = "map"
    temperature: float = 0.1
    lr_factor: float = LR_FACTOR

    #: Training calls the loss with (features, batch).
    needs_batch = True

    def __post_init__(self) -> None:
        """Check the options and scale the rows of the targets to length 1."""
        check_choice("form", self.form, FORMS)
        for name, least in (("weight", 1e-30), ("temperature", 1e-30), ("lr_factor", 0)):
            value = check_number(name, getattr(self, name), least)
            object.__setattr__(self, name, value)
        if isinstance(self.targets, type):
            name = self.targets.__name__
            raise TypeError(f"targets is the class {name}; pass an instance of it: {name}()")
        if not callable(self.targets):
            object.__setattr__(self, "targets", checked_rows(self.targets, "targets"))

    @cached_property
    def _text(self) -> str:
        """Text for the targets: the name of a function, or the shape and SHA-256 of an array."""
        if callable(self.targets):
            # Not its repr, which may contain a memory address or a local path.
            named = self.targets if hasattr(self.targets, "__qualname__") else type(self.targets)
            return f"<{named.__module__}.{named.__qualname__}>"
        digest = hashlib.sha256(self.targets.tobytes()).hexdigest()[:16]
        n, dim = self.targets.shape
        return f"<{n} x {dim}, sha256 {digest}>"

    def __repr__(self) -> str:
        """Return the targets and the options as text."""
        options = {"map": ("lr_factor",), "relation": ("temperature",), "features": ()}
        own = [f", {name}={getattr(self, name)}" for name in options[self.form]]
        return f"Distill({self._text}, weight={self.weight}, form={self.form!r}{''.join(own)})"

    def __eq__(self, other: object) -> bool:
        """Compare options and targets."""
        if not isinstance(other, Distill):
            return NotImplemented
        if callable(self.targets) and self.targets != other.targets:
            return False
        return repr(self) == repr(other)

    def __hash__(self) -> int:
        """Hash options and targets."""
        return hash(repr(self))

    @np.errstate(over="ignore", invalid="ignore")  # a training checks the result
    def __call__(self, features: NDArray[Any], batch: Any) -> tuple[float, NDArray[Any]]:
        """Return loss and gradient for the forms "relation" and "features".

        Parameters
        ----------
        features : (n, dim) floats
        batch
            Batch with `pixels` (if `targets` is a callable) or `positions` (if it is an array).

        Returns
        -------
        loss : float
        d_features : (n, dim)
            Gradient of the loss, with the dtype of `features`.

        Raises
        ------
        TypeError
            The form is "map": only a training can compute this loss, because it holds the map.
        ValueError
            The form is "features", and the targets have another number of dimensions; or values
            are masked.
        """
        if self.form == "map":
            raise TypeError("Distill with form='map' only works in a training; pass it as loss=")
        check_not_masked("features", features)
        rows = rows_of(self.targets, batch)
        if self.form == "features":
            check_width(rows.shape[1], features.shape[1])
            return cosine_loss(features, rows, self.weight)
        loss, slope = relation_loss(features, rows, self.temperature)
        return self.weight * loss, (self.weight * slope).astype(features.dtype)
