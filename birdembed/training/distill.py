"""A loss that makes a model imitate another model's embeddings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from birdembed.base.checks import check_choice, check_number
from birdembed.base.public import public
from birdembed.training.similarity_loss import relation_loss
from birdembed.training.teacher import checked_rows, rows_of

FORMS = ("map", "relation")
#: Measured with features held fast, 1,000 images, 2048 to 1280 numbers, 300 steps: at the full
#: rate of 1e-3 the map learns its images by heart (cosine from 0.80 to 0.87, on others from 0.72
#: to 0.69), at a tenth of it hardly (0.82, 0.71).
LR_FACTOR = 0.1


@public
@dataclass(frozen=True, eq=False, repr=False)
class Distill:
    """Make a model imitate another model's embeddings: knowledge distillation.

    Given to a training as ``loss=``, alone or in a list, it is added to the cross-entropy of the
    images that have labels. It needs no labels itself.

    Parameters
    ----------
    targets : array or callable
        The teacher's embeddings. An array ``(n, d)``, one row for each image of the training
        data in its order; a row of NaN is an image the teacher has nothing to say about. Or a
        callable: it gets each batch's pixels ``(n, 3, size, size)`` float32, RGB, cut, turned and
        lit as the model sees them and normalised as its `preprocess` says, and returns ``(n, d)``:
        then both see the same view, which teaches more in a long training (Beyer et al. 2022).
        Lengths do not count.
    weight : float
        What loss and gradient are multiplied by.
    form : {"map", "relation"}
        ``"map"``: a linear map leads from the features to the teacher's space, and the loss is 1
        minus the cosine between both there. The map is fitted by ridge regression on the images
        as they are before the first step, then trained with the network, and is the model's
        projection afterwards (``encode(projection=True)``).
        ``"relation"``: there is no map. Each image's similarities to the others of its batch
        become what they are for the teacher.
    temperature : float
        Of ``"relation"``: what cosines are divided by.
    lr_factor : float
        Of ``"map"``: the map's learning rate, in parts of `lr`; 0 leaves it as it was fitted.

    Notes
    -----
    The map is scaled to the root mean square ``1 / sqrt(features)``, which no cosine sees: a
    learning rate means to it what it means to a layer. It takes part in weight decay, gradient
    clipping and the running mean of the weights, and is kept in checkpoints.

    References
    ----------
    Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network"; Romero et al. 2015,
    "FitNets" (a map from the student's features to the teacher's); Beyer et al. 2022, "Knowledge
    distillation: A good teacher is patient and consistent"; Park et al. 2019, "Relational Knowledge
    Distillation"; Fang et al. 2021, "SEED: Self-supervised Distillation For Visual Representation"
    (similarities as a distribution).

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

    #: A training calls it with (features, batch).
    needs_batch = True

    def __post_init__(self) -> None:
        """Check the options; scale the targets' rows to length 1."""
        check_choice("form", self.form, FORMS)
        for name, least in (("weight", 1e-30), ("temperature", 1e-30), ("lr_factor", 0)):
            value = check_number(name, getattr(self, name), least)
            object.__setattr__(self, name, value)
        if not callable(self.targets):
            object.__setattr__(self, "targets", checked_rows(self.targets, "targets"))

    @cached_property
    def _text(self) -> str:
        """What is written of the targets: functions by name, arrays by shape and SHA-256."""
        if callable(self.targets):
            # Not its repr: that may hold an address, or a place on somebody's machine.
            named = self.targets if hasattr(self.targets, "__qualname__") else type(self.targets)
            return f"<{named.__module__}.{named.__qualname__}>"
        digest = hashlib.sha256(self.targets.tobytes()).hexdigest()[:16]
        n, dim = self.targets.shape
        return f"<{n} x {dim}, sha256 {digest}>"

    def __repr__(self) -> str:
        """Say what it imitates and how."""
        own = f"temperature={self.temperature}"
        if self.form == "map":
            own = f"lr_factor={self.lr_factor}"
        return f"Distill({self._text}, weight={self.weight}, form={self.form!r}, {own})"

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

    def __call__(self, features: NDArray[Any], batch: Any) -> tuple[float, NDArray[Any]]:
        """Return loss and gradient of the form "relation".

        Parameters
        ----------
        features : (n, dim) floats
        batch
            With `pixels` for a callable, `positions` for an array of targets.

        Returns
        -------
        loss : float
        d_features : (n, dim)
            Its gradient, of the dtype of `features`.

        Raises
        ------
        TypeError
            The form is "map": that loss is computed in a training alone, which has the map.
        """
        if self.form == "map":
            raise TypeError("Distill of the form 'map' has its map in a training: loss= takes it")
        loss, slope = relation_loss(features, rows_of(self.targets, batch), self.temperature)
        return self.weight * loss, (self.weight * slope).astype(features.dtype)
