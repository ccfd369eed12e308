"""The model: embeds, classifies and identifies images, and can be saved."""

from __future__ import annotations

import copy
import os
from functools import partial
from typing import TYPE_CHECKING

from birdembed.base.checks import check_boolean
from birdembed.base.files import path_text
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
    """A ResNet that embeds images, with or without a classifier.

    Parameters
    ----------
    architecture : str
        "resnet" and the depth, 18, 34, 50, 101 or 152; with a "d" at the end, the variant
        with a deep stem: "resnet50", "resnet34d".
    num_classes : int
        Number of classes; 0 for no classifier.
    seed : int
        Seed of the random weights. To load trained weights, use `load_model`.
    preprocess : Preprocess, optional
        Default: ``Preprocess()``.
    class_names : sequence of str, optional

    Notes
    -----
    A model is thread-safe; a forked child process and a pickle have their own copy. Calls that
    change the weights install a new immutable set of weights, and running calls finish with the
    old one.
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
            See `birdembed.load_model`.

        Returns
        -------
        Model

        Raises
        ------
        WeightsError
            The model cannot be found or downloaded, is damaged, or does not match.
        ValueError
            `projection=True` for a model without a projection, an unknown `precision`, or int8 for
            a model that was not quantized.
        BackendError
            The processor does not support `precision`.
        """
        # Check these before anything is read or downloaded.
        asked_precision(precision)
        projection = check_boolean("projection", projection)
        local_files_only = check_boolean("local_files_only", local_files_only)
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
                raise ValueError(f"projection=True, but {given.source} has no projection")
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

    def save_pretrained(
        self, directory: str | os.PathLike[str], *, dtype: str | None = None
    ) -> None:
        """Save the model to a folder for `load_model`, timm and (plain ResNets) torchvision.

        Parameters
        ----------
        directory : str or Path
            Folder for config.json, model.safetensors and README.md (a model card with the numbers
            in config.json), and separate files for a projection and a gallery. Files of an earlier
            save are replaced, but a README.md that you wrote yourself is kept.
        dtype : {"float32", "float16", "int8"}, optional
            Number format of the stored weights. Default: float32, or int8 after `quantize`.
            float16 takes half the space: it stores kernels and matrices as float16, and vectors
            (batch norms, bias of the classifier) as float32. int8 takes a quarter: it stores the
            kernels of all convolutions but the first in 8 bits, with a scale per filter, and the
            rest like float16. Only birdembed reads int8.

            If weights have to be rounded, the loaded model has another fingerprint. (`quantize` has
            rounded them to int8 already.) Its gallery and projection are those of this model. The
            embeddings differ by 2e-6 in cosine similarity with float16 (measured with `sscd`) and
            by 2e-4 with int8 (`birds477`); ``birdembed finetune --dtype`` rounds the weights before
            it computes the gallery.

        Raises
        ------
        OSError
            The folder cannot be written; existing files are unchanged.
        ValueError
            `dtype` is unknown, or a weight does not fit into it.
        """
        now = self._current
        given = now.pretrained()
        dtype = dtype or ("float32" if given.ranges is None else "int8")
        index = None if given.gallery is None else given.gallery.index
        if index is not None and index.fingerprint != given.fingerprint:
            index = given.threshold = None  # they belong to the model before it was changed
        save = None if index is None else partial(_write_gallery, index)
        written = write_pretrained(directory, given, save, dtype)
        if written is given:  # loading this folder gives this model
            self._saved = (os.path.abspath(path_text(directory)), now.fingerprint)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | None = None,
        commit_message: str = "Upload model with birdembed",
        dtype: str | None = None,
    ) -> str:
        """Upload the model and its card to the Hugging Face Hub. Extra: ``hub``.

        Load it with ``load_model(repo_id)``.

        Parameters
        ----------
        repo_id : str
            "owner/name", or "name" for your own account. Created if it does not exist.
        private : bool
            Make a new repository private.
        token : str, optional
            Default: the token saved by ``hf auth login``, or ``HF_TOKEN``.
        commit_message : str
        dtype : {"float32", "float16", "int8"}, optional
            See `save_pretrained`.

        Returns
        -------
        str
            The URL of the commit.

        Raises
        ------
        ValueError
            `repo_id` is not the name of a repository.
        BirdembedError
            The hub cannot be reached, or it refuses the upload.
        """
        import tempfile

        from birdembed.pretrained.upload import check_repository, upload_folder

        check_repository(repo_id)
        private = check_boolean("private", private)
        with tempfile.TemporaryDirectory() as place:
            folder = os.path.join(place, repo_id.split("/")[-1])
            saved = self._saved
            self.save_pretrained(folder, dtype=dtype)
            self._saved = saved  # that folder was only temporary
            return upload_folder(
                folder, repo_id, private=private, token=token, message=commit_message
            )

    def export_onnx(
        self, path: str | os.PathLike[str], *, head: bool = False, normalize: bool = False
    ) -> None:
        """Export the network to an ONNX file, for example for ONNX Runtime. Extra: ``onnx``.

        The input is ``pixels``, ``(n, 3, size, size)`` float32 as returned by
        `birdembed.preprocess`, and the output is ``embeddings`` as returned by `encode`, including
        a default projection and `mirror`. The metadata contains ``birdembed.preprocess`` and
        ``birdembed.fingerprint``. The file computes in float32, so the embeddings of a quantized
        model differ from those of `encode` by the rounding to int8 (cosines near 0.999).

        Parameters
        ----------
        path : str or Path
        head : bool
            Add the output ``logits``, and ``birdembed.class_names`` to the metadata.
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

        head, normalize = check_boolean("head", head), check_boolean("normalize", normalize)
        if head:
            check_classifier(self._current)
        write_onnx(path, self._current.pretrained(), head, normalize)


def _write_gallery(index: Index, path: str | os.PathLike[str], fingerprint: str) -> None:
    """Write the rows of a gallery to a file, without local paths, for a stored model."""
    from birdembed.search.index_file import write_index
    from birdembed.search.shared_rows import rows_of

    if index.fingerprint != fingerprint:
        index = copy.copy(index)
        index.fingerprint, index.model = fingerprint, None
    write_index(path, rows_of(index))
