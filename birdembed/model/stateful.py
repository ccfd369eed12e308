"""The state of a model: reading and replacing it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from birdembed import _core
from birdembed.base.checks import check_boolean, check_threads
from birdembed.base.makers import name_of_source
from birdembed.base.precisions import check_native, precision_of_model
from birdembed.images import batches as batches_
from birdembed.images.preprocess import Preprocess, check_preprocess
from birdembed.images.sources import Inputs
from birdembed.model.pickling import from_plain_values, plain_values
from birdembed.model.precision import IMAGES
from birdembed.model.quantizing import largest_activations
from birdembed.model.snapshot import Snapshot
from birdembed.model.write_lock import WriteLock
from birdembed.pretrained.contents import Pretrained
from birdembed.weights.projection import Projection
from birdembed.weights.storing import rounded

if TYPE_CHECKING:
    from typing_extensions import Self

Kind = TypeVar("Kind", bound="Stateful")


class Stateful:
    """Weights, preprocessing and precision of a model, stored in an immutable snapshot.

    A call that changes the model installs a new snapshot. Running calls finish with the old one.
    """

    _current: Snapshot
    #: The folder that the model was saved to, and its fingerprint at that time.
    _saved: tuple[str, str] | None = None

    @classmethod
    def _of(cls, given: Pretrained, precision: str = "float32") -> Self:
        """Create a model from its contents."""
        model = cls.__new__(cls)
        model._take(given, precision)
        return model

    def _take(self, given: Pretrained, precision: str = "float32") -> None:
        """Set the contents of this model."""
        self._current = Snapshot.of(given, precision)
        self._write_lock = WriteLock()

    # Properties

    @property
    def architecture(self) -> str:
        """The name of the network, such as "resnet50" or "resnet34d"."""
        return self._current.architecture

    @property
    def source(self) -> str:
        """The origin of the model.

        A name for `load_model`, a hub id with its revision, or the path of a folder. For a model
        that was changed and not saved, a description: "fine-tuned from birds477".
        """
        if self._saved is not None and self._saved[1] == self.fingerprint:
            return self._saved[0]
        return self._current.source

    @property
    def embedding_dim(self) -> int:
        """The dimension of the embeddings that `encode` returns by default."""
        return self._current.dim(self._current.default_projection)

    @property
    def projection(self) -> Projection | None:
        """The linear map applied after pooling, or None."""
        return self._current.projection

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing of images. Setting it changes the fingerprint."""
        return self._current.preprocess

    @preprocess.setter
    def preprocess(self, value: Preprocess) -> None:
        value = check_preprocess(value)
        with self._writing("setting preprocess"):
            self._current = replace(self._current, preprocess=value)

    @property
    def fingerprint(self) -> str:
        """A SHA-256 (64 hex digits) that identifies the space of the default embeddings.

        It depends on the trunk weights, architecture, pooling, projection, preprocessing and the
        measurements of `quantize`, but not on the classifier and `precision`.
        """
        return self._current.fingerprint

    # Precision

    @property
    def precision(self) -> str:
        """Number format of the network: "float32", "bfloat16", "int8" or "auto". Can be set.

        int8 only works for quantized models, see `quantize`.

        "auto" picks the fastest format of the processor for which the embeddings of the first
        images have a cosine similarity of at least 0.999 to those in float32. Until then the value
        is "auto". Pooling, projection and classifier always use float32, and so does the validation
        in training. The saved weights do not depend on the precision.
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
        """The reason for the value of `precision`, in one line."""
        now = self._current
        if now.precision != "auto":
            return "as requested"
        return "chosen on the first images" if now.choice is None else now.choice.reason

    def choose_precision(self, images: Any) -> str:
        """Choose the precision for "auto" now, and return it.

        Without this call, it is chosen on the first images that are embedded. If at least eight
        images were compared, the choice is stored in the cache folder, by fingerprint and machine.

        Parameters
        ----------
        images : images
            See `encode`. The first eight readable images are compared.

        Returns
        -------
        str
            The new `precision`. It is still "auto" if no image can be read, and does not change if
            it was not "auto".
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
        """Round the weights to 8 bits, measure activation ranges on images, and use int8.

        This changes the model in place; use ``copy.copy(model).quantize(images)`` to keep the
        original. `save_pretrained` then stores the weights in 8 bits and the ranges with them, and
        `load_model` uses int8 by default. After changing the weights with `load_state_dict` or
        training, the model uses float32 until you call this method again.

        Parameters
        ----------
        images : images
            A few dozen to a few hundred images similar to those that will be embedded, see
            `encode`. Larger activations are clipped.
        show_progress_bar : bool, optional
            Default: only in a terminal or notebook.

        Returns
        -------
        Model
            The model itself, with another fingerprint. Its gallery and threshold are kept, because
            the embeddings are nearly the same; call `fit_gallery` for exact ones.

        Raises
        ------
        BackendError
            The processor does not support int8.
        DecodeError
            An image cannot be read.
        ValueError
            There are no images, the network output contains NaN or infinity, or a weight is too
            large to be stored.
        """
        check_native("int8", "quantize")
        with self._writing("quantize"):
            now = self._current
            origin = f"quantized from {name_of_source(self.source)}"
            weights = now.with_state(rounded(now.trunk.state(), "int8"))
            ranges = largest_activations(weights, images, show_progress_bar)
            self._current = now.quantized(
                weights.trunk.with_ranges(ranges), now.source if now.is_quantized else origin
            )
        return self

    # Weights

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all weights, float32, with the keys of torchvision or timm."""
        return self._current.trunk.state()

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> None:
        """Replace the weights.

        Parameters
        ----------
        state_dict : mapping of str to array
            Weights with the keys of torchvision, timm or transformers. A prefix of all keys, such
            as "module." of ``DataParallel``, is removed. `num_batches_tracked` is ignored.
        strict : bool
            False: ignore unknown names, and keep the current weights for missing names. It is an
            error if all names are unknown.

        Raises
        ------
        WeightsError
            Names are missing or unexpected, a shape is wrong, or values are masked or not finite;
            the model does not change.
        TypeError
            `strict` is not a boolean.
        """
        from birdembed.weights.state_dict import native_state

        strict = check_boolean("strict", strict)
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
        """Replace weights and class names; `ranges` belong to the new weights."""
        self._current = self._current.with_state(state, ranges, class_names=class_names)

    def _writing(self, what: str) -> AbstractContextManager[None]:
        """Prevent other calls from changing the model in the meantime."""
        return self._write_lock.held(what)

    def __getstate__(self) -> dict[str, Any]:
        """Return plain values, and the weights as the bytes of a safetensors file."""
        now = self._current
        return {**plain_values(now.pretrained()), "precision": now.precision}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the model from a state returned by `__getstate__`."""
        self._take(from_plain_values(state), state["precision"])


# Training and the integrations change a model as a whole: they hold `writing` while they work,
# read `snapshot_of`, and install the result with `set_snapshot`. These are not methods, because
# they are not part of the public API.


def model_of(kind: type[Kind], given: Pretrained) -> Kind:
    """Create a model of the given class from the contents of a folder or a checkpoint."""
    return kind._of(given)


def snapshot_of(model: Stateful) -> Snapshot:
    """Return the current state of a model, which is immutable."""
    return model._current


def set_snapshot(model: Stateful, snapshot: Snapshot) -> None:
    """Replace the state of a model; the caller holds `writing`."""
    model._current = snapshot


def writing(model: Stateful, what: str) -> AbstractContextManager[None]:
    """Prevent other calls from changing a model in the meantime.

    Parameters
    ----------
    model : Stateful
    what : str
        Name of the calling operation, for the error message.

    Raises
    ------
    BirdembedError
        Another call is changing the model.
    """
    return model._writing(what)
