"""What a model holds, and how that is read and replaced."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from birdembed import _core
from birdembed.base.checks import check_threads
from birdembed.base.precisions import check_native, precision_of_model
from birdembed.images import batches as batches_
from birdembed.images.preprocess import Preprocess
from birdembed.images.sources import Inputs
from birdembed.model.network import check_preprocess
from birdembed.model.pickling import from_plain_values, plain_values
from birdembed.model.precision import IMAGES
from birdembed.model.quantizing import largest_activations
from birdembed.model.snapshot import Snapshot
from birdembed.model.write_lock import WriteLock
from birdembed.pretrained.contents import Pretrained
from birdembed.weights.projection import Projection

if TYPE_CHECKING:
    from typing_extensions import Self

Kind = TypeVar("Kind", bound="Stateful")


class Stateful:
    """Weights, preprocessing and precision of a model, in one immutable snapshot at a time.

    A call that changes the model puts another snapshot in place. Calls in flight finish on the
    old one.
    """

    _current: Snapshot
    #: The folder that the model was saved to, and its fingerprint then.
    _saved: tuple[str, str] | None = None

    @classmethod
    def _of(cls, given: Pretrained, precision: str = "float32") -> Self:
        """Make a model from its contents."""
        model = cls.__new__(cls)
        model._take(given, precision)
        return model

    def _take(self, given: Pretrained, precision: str = "float32") -> None:
        """Become the model that has these contents."""
        self._current = Snapshot.of(given, precision)
        self._write_lock = WriteLock()

    # What it is

    @property
    def architecture(self) -> str:
        """The name of the network: "resnet50" or "resnet50d"."""
        return self._current.architecture

    @property
    def source(self) -> str:
        """Where the model comes from.

        A name that `load_model` knows, a hub id with its revision, or the path of a folder. For
        a model that was changed since and not saved, how it was made: "fine-tuned from birds477".
        """
        if self._saved is not None and self._saved[1] == self.fingerprint:
            return self._saved[0]
        return self._current.source

    @property
    def embedding_dim(self) -> int:
        """The length of a vector that `encode` gives by default."""
        return self._current.dim(self._current.default_projection)

    @property
    def projection(self) -> Projection | None:
        """The linear map behind the pooling that the model brings, or None."""
        return self._current.projection

    @property
    def preprocess(self) -> Preprocess:
        """How images become network input. Setting it renews the fingerprint."""
        return self._current.preprocess

    @preprocess.setter
    def preprocess(self, value: Preprocess) -> None:
        value = check_preprocess(value)
        with self._writing("setting preprocess"):
            self._current = replace(self._current, preprocess=value)

    @property
    def fingerprint(self) -> str:
        """The SHA-256, 64 hex digits, that names the space of the default embeddings.

        Trunk weights, architecture, pooling, projection and preprocessing count, and what
        `quantize` measured; the classifier and `precision` do not.
        """
        return self._current.fingerprint

    # Precision

    @property
    def precision(self) -> str:
        """What the network computes in: "float32", "bfloat16" or "int8". May be set, or to "auto".

        int8 is for models that were quantized, see `quantize`.

        "auto" takes the fastest that the processor has and that keeps the embeddings of the first
        images within a cosine of 0.999 of float32's. Until then it is "auto" that is said. Weights,
        pooling, projection and classifier are float32 in any case, and so are a training's
        validation and what `save_pretrained` writes.
        """
        now = self._current
        if now.precision != "auto":
            return now.precision
        return "auto" if now.choice is None else now.choice.precision

    @precision.setter
    def precision(self, value: str) -> None:
        if value is None:
            raise ValueError("precision must be a name, got None")
        with self._writing("setting precision"):
            value = precision_of_model(value, self._current.is_quantized)
            self._current = replace(self._current, precision=value)

    @property
    def precision_reason(self) -> str:
        """Why `precision` is what it is, in one line."""
        now = self._current
        if now.precision != "auto":
            return "as asked for"
        return "the first images will say" if now.choice is None else now.choice.reason

    def choose_precision(self, images: Any) -> str:
        """Decide now what "auto" stands for, and return it.

        Without this call the first images that are embedded decide. The choice is kept in the
        cache folder, by fingerprint and machine, where eight images or more were compared.

        Parameters
        ----------
        images : images
            As `encode` takes them. The first eight are compared, without what cannot be read.

        Returns
        -------
        str
            `precision`: still "auto" where no image can be read; unchanged where it is not "auto".
        """
        now = self._current
        if now.precision == "auto" and now.choice is None:
            inputs = Inputs.of(images)
            for batch in batches_.batches(inputs, now.preprocess, IMAGES, on_error="skip"):
                if len(batch.pixels):
                    now.computed_in(batch.pixels, check_threads(None), batch.mirrored)
                    break
        return self.precision

    def quantize(self, images: Any, *, show_progress_bar: bool | None = None) -> Self:
        """Measure activations on images, and compute in int8 from now on.

        This changes the model, as `load_state_dict` does; ``copy.copy(model).quantize(images)``
        leaves it alone. The weights stay as they are, and so does what ``model.precision =
        "float32"`` computes. `save_pretrained` keeps what was measured; `load_model` then computes
        in int8 by itself. Other weights need another call: `load_state_dict` and a training leave
        a model that computes in float32.

        Parameters
        ----------
        images : images
            As `encode` takes them: some dozens to hundreds of the kind that will be embedded.
            What goes beyond their activations is cut off there.
        show_progress_bar : bool, optional
            By default in a terminal or notebook.

        Returns
        -------
        Model
            The model itself, with another fingerprint. Its gallery and threshold stay, as those
            of nearly the same embeddings; `fit_gallery` makes exact ones.

        Raises
        ------
        BackendError
            This processor has not got int8.
        DecodeError
            An image cannot be read.
        ValueError
            There are no images, or the network gives NaN or infinity.
        """
        check_native("int8", "quantize")
        with self._writing("quantize"):
            now = self._current
            ranges = largest_activations(now, images, show_progress_bar)
            source = now.source if now.is_quantized else f"quantized from {self.source}"
            self._current = now.quantized(ranges, source)
        return self

    # Weights

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all weights, float32, under torchvision's or timm's keys."""
        return self._current.trunk.state()

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> None:
        """Put weights in place of the present ones.

        Parameters
        ----------
        state_dict : mapping of str to array
            torchvision's (resnet50) or timm's (resnet50d) keys. `num_batches_tracked` is ignored.
        strict : bool
            False: names that the model lacks are ignored, those not given stay.

        Raises
        ------
        WeightsError
            Names are missing, unexpected or misshapen; nothing was changed.
        """
        from birdembed.weights.state_dict import native_state

        with self._writing("load_state_dict"):
            now = self._current
            table = _core.parameter_table(now.architecture, now.num_classes)
            present = {} if strict else now.trunk.state()
            state = native_state(state_dict, table, now.architecture, present)
            self._swap(state, now.class_names)

    def _swap(
        self,
        state: Mapping[str, np.ndarray],
        class_names: list[str] | None,
        ranges: np.ndarray | None = None,
    ) -> None:
        """Replace weights and class names; `ranges` are those of the new weights."""
        self._current = self._current.with_state(state, ranges, class_names=class_names)

    def _writing(self, what: str) -> AbstractContextManager[None]:
        """Let no other call change the model meanwhile."""
        return self._write_lock.held(what)

    def __getstate__(self) -> dict[str, Any]:
        """Return plain values, and the weights as the bytes of a safetensors file."""
        now = self._current
        return {**plain_values(now.pretrained()), "precision": now.precision}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the model from what `__getstate__` returned."""
        self._take(from_plain_values(state), state["precision"])


# Training and the integrations change a model as a whole: they hold `writing` while they work,
# read `snapshot_of` and put what they made back with `set_snapshot`. No method of the class, as
# they are not for users.


def model_of(kind: type[Kind], given: Pretrained) -> Kind:
    """Make a model of the given class from what a folder or a checkpoint holds."""
    return kind._of(given)


def snapshot_of(model: Stateful) -> Snapshot:
    """Return the present state of a model, which never changes itself."""
    return model._current


def set_snapshot(model: Stateful, snapshot: Snapshot) -> None:
    """Put another state in place of the present one; the caller holds `writing`."""
    model._current = snapshot


def writing(model: Stateful, what: str) -> AbstractContextManager[None]:
    """Let no other call change a model meanwhile.

    Parameters
    ----------
    model : Stateful
    what : str
        Who wants to, for the message of the error.

    Raises
    ------
    BirdembedError
        Another call is changing it.
    """
    return model._writing(what)
