"""Embed, classify and identify images, and save the model that does."""

from __future__ import annotations

import copy
import os
from functools import partial
from typing import TYPE_CHECKING

from birdembed.base.precisions import asked_precision, precision_of_model
from birdembed.base.public import public
from birdembed.images.preprocess import Preprocess
from birdembed.model.identifier import Identifier
from birdembed.model.snapshot import precision_note
from birdembed.pretrained.registry import DEFAULT_MODEL, read_model
from birdembed.pretrained.writing import write_pretrained

if TYPE_CHECKING:
    from typing_extensions import Self

    from birdembed.search.index import Index


@public
class Model(Identifier):
    """A ResNet-50 that turns images into embeddings, with or without a classifier.

    Parameters
    ----------
    architecture : {"resnet50", "resnet50d"}
    num_classes : int
        Rows of the classifier; 0: none.
    seed : int
        Of the random weights. `load_model` is what gives real ones.
    preprocess : Preprocess, optional
        ``Preprocess()`` by default.
    class_names : sequence of str, optional

    Notes
    -----
    Threads may share a model; a forked child and a pickle have their own. Calls that change
    the weights put a new immutable set in place, and calls in flight finish on the old one.
    """

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] | None = None,
        *,
        weights: str | os.PathLike[str] | None = None,
        preprocess: Preprocess | None = None,
        num_classes: int | None = None,
        projection: bool = False,
        precision: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load a model; the same function as `birdembed.load_model`.

        Parameters
        ----------
        name : str or Path, optional
        weights, preprocess, num_classes, projection, precision, revision, local_files_only
            As `birdembed.load_model` takes them.

        Returns
        -------
        Model

        Raises
        ------
        WeightsError
            The model is not here, cannot be had, is damaged or does not fit.
        ValueError
            `projection=True` for a model that has none; an unknown `precision`; int8 for a model
            that was not quantized.
        BackendError
            This processor has not got `precision`.
        """
        asked_precision(precision)  # before anything is read or downloaded
        given = read_model(
            DEFAULT_MODEL if name is None else name,
            weights=weights,
            preprocess=preprocess,
            num_classes=num_classes,
            revision=revision,
            local_files_only=local_files_only,
        )
        if projection:
            if given.projection is None:
                raise ValueError(f"projection=True, but {given.source} brings no projection")
            given.project_by_default = True
            given.fingerprint = None
        return cls._of(given, precision_of_model(precision, given.ranges is not None))

    def __repr__(self) -> str:
        """Return architecture, classes, input and embedding size, and source as text."""
        now = self._current
        head = f"{now.num_classes} classes" if now.num_classes else "no classifier"
        return (
            f"Model({now.architecture}, {head}, {now.preprocess.size} px -> "
            f"{self.embedding_dim} numbers, {now.source}{precision_note(now)})"
        )

    def _repr_html_(self) -> str:
        from birdembed.model.model_html import model_html

        return model_html(self._current)

    def save_pretrained(self, directory: str | os.PathLike[str], *, dtype: str = "float32") -> None:
        """Write a folder that `load_model`, timm and, for resnet50, torchvision read.

        Parameters
        ----------
        directory : str or Path
            Gets config.json, model.safetensors and README.md (a model card from the numbers in
            config.json), and files of their own for a projection and a gallery. Files of an
            earlier save are replaced, a README.md of your own is kept.
        dtype : {"float32", "float16"}
            How weights are stored. Half the space: kernels and matrices as float16, vectors
            (batch norms, the classifier's bias) as float32. The model that comes back has the
            rounded weights and so a fingerprint of its own. Its gallery and projection are those
            of this model, whose embeddings differ from its own by 2e-6 in cosine (measured with
            `sscd`); ``birdembed finetune --dtype float16`` rounds before it computes the gallery.
            A model that was quantized is stored in the same way, with what `quantize` measured
            in config.json.

        Raises
        ------
        OSError
            The folder cannot be written; what stood there stays.
        ValueError
            `dtype` is none of these, or a weight is beyond what float16 holds.
        """
        given = self._current.pretrained()
        index = None if given.gallery is None else given.gallery.index
        if index is not None and index.fingerprint != given.fingerprint:
            index = given.threshold = None  # of what the model was before it changed
        given = given.stored_as(dtype)
        if index is not None and index.fingerprint != given.fingerprint:
            index = copy.copy(index)
            index.fingerprint, index.model = given.fingerprint, None
        save = None if index is None else partial(_write_gallery, index)
        write_pretrained(directory, given, save, dtype)
        if dtype == "float32":  # what is loaded from there is this model
            self._saved = (os.path.abspath(directory), self.fingerprint)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | None = None,
        commit_message: str = "Upload model with birdembed",
        dtype: str = "float32",
    ) -> str:
        """Upload the model and its card to the Hugging Face hub. Extra: ``hub``.

        ``load_model(repo_id)`` loads it again.

        Parameters
        ----------
        repo_id : str
            "owner/name", or "name" for your own account. Created where it does not exist.
        private : bool
            Whether a repository that is created is private.
        token : str, optional
            Default: the one that ``hf auth login`` saved, or ``HF_TOKEN``.
        commit_message : str
        dtype : {"float32", "float16"}
            As `save_pretrained` takes it.

        Returns
        -------
        str
            The address of the commit.
        """
        import tempfile

        from birdembed.pretrained.upload import upload_folder

        with tempfile.TemporaryDirectory() as place:
            folder = os.path.join(place, repo_id.split("/")[-1])
            saved = self._saved
            self.save_pretrained(folder, dtype=dtype)
            self._saved = saved  # that folder is gone in a moment
            return upload_folder(
                folder, repo_id, private=private, token=token, message=commit_message
            )

    def export_onnx(
        self, path: str | os.PathLike[str], *, head: bool = False, normalize: bool = False
    ) -> None:
        """Write the network to an ONNX file, for ONNX Runtime and others. Extra: ``onnx``.

        The file takes ``pixels``, ``(n, 3, size, size)`` float32 as `birdembed.preprocess` makes
        it, and gives ``embeddings`` like `encode`; a default projection and `mirror` are part of
        it. Its metadata has ``birdembed.preprocess`` and ``birdembed.fingerprint``.

        Parameters
        ----------
        path : str or Path
        head : bool
            Also give ``logits``, like `logits`; ``birdembed.class_names`` is in the metadata.
        normalize : bool
            Scale each embedding to length 1.

        Raises
        ------
        ValueError
            `head=True` for a model without a classifier.
        OSError
            The file cannot be written.
        """
        from birdembed.model.encoding import check_classifier
        from birdembed.pretrained.onnx_file import write_onnx

        if head:
            check_classifier(self._current)
        write_onnx(path, self._current.pretrained(), head, normalize)


def _write_gallery(index: Index, path: str | os.PathLike[str]) -> None:
    """Write the rows of a gallery to a file, which says nothing of places on this machine."""
    from birdembed.search.index_file import write_index
    from birdembed.search.shared_rows import rows_of

    write_index(path, rows_of(index))
