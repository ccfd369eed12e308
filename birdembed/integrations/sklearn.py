"""scikit-learn: a transformer that turns images into vectors. Extra: ``sklearn``.

>>> from sklearn.neighbors import KNeighborsClassifier                   # doctest: +SKIP
>>> from sklearn.pipeline import make_pipeline                           # doctest: +SKIP
>>> from birdembed.integrations.sklearn import ImageEmbedder             # doctest: +SKIP
>>> knn = KNeighborsClassifier(1, metric="cosine")                       # doctest: +SKIP
>>> make_pipeline(ImageEmbedder(), knn).fit(paths, labels)               # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.fingerprints import check_same_model
from birdembed.base.optional import need
from birdembed.images.sources import is_image, only_column
from birdembed.model.shared import shared_model
from birdembed.pretrained.registry import DEFAULT_MODEL

need("sklearn", "sklearn", "birdembed.integrations.sklearn")

from sklearn.base import (  # noqa: E402
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)

if TYPE_CHECKING:
    from birdembed.model.model import Model


class ImageEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Transformer that embeds images like `Model.encode`.

    It has nothing to learn: `fit` loads the model and stores its fingerprint. The estimator only
    stores the name of the model, which is loaded once per process. So clones, grid searches and
    pickles stay small, and each joblib process loads its own copy.

    Parameters
    ----------
    model : str or Path
        Name, path or hub id of the model, see `birdembed.load_model`. A `Model` that you have
        changed must be saved first (`save_pretrained`), so that each process can load it.
    batch_size : int
        Number of images in memory at a time. The embeddings do not depend on it.
    normalize_embeddings : bool
        Scale each embedding to length 1, for methods that use Euclidean distances.

    Attributes
    ----------
    fingerprint_ : str
        Fingerprint of the model loaded by `fit`. `transform` raises an error if the model of that
        name has changed.

    Notes
    -----
    Inputs are paths, bytes, PIL images or uint8 arrays, as a list, an object array, a Series, or a
    table with one column; a uint8 array ``(n, h, w, c)``; or an `ImageFolder`. Arrays are grey or
    RGB(A) (OpenCV uses BGR; convert with ``image[..., ::-1]``).
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        batch_size: int = 32,
        normalize_embeddings: bool = False,
    ):
        self.model = model
        self.batch_size = batch_size
        self.normalize_embeddings = normalize_embeddings

    def fit(self, X: Any, y: Any = None) -> ImageEmbedder:
        """Load the model; the images are not used.

        Parameters
        ----------
        X : sequence of images
        y : ignored

        Returns
        -------
        ImageEmbedder
            The estimator itself.

        Raises
        ------
        TypeError
            `model` is not a name or path, or X is not a sequence of images.
        WeightsError
            The model does not exist.
        """
        _images(X)
        model = self._loaded()
        self.fingerprint_ = model.fingerprint
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Embed images.

        Parameters
        ----------
        X : sequence of images

        Returns
        -------
        ndarray
            `(n, dim)` float32.

        Raises
        ------
        DecodeError
            An image is missing or cannot be decoded; the message names it.
        FingerprintMismatch
            The model of this name has changed since `fit`.
        """
        images = _images(X)
        model = self._loaded()
        seen = getattr(self, "fingerprint_", None)
        other = f"the current model {os.fspath(self.model)!r}"
        advice = "fit again, or restore the original model"
        check_same_model("the fitted transformer", seen, other, model.fingerprint, advice)
        vectors: NDArray[np.float32] = model.encode(
            images,
            batch_size=self.batch_size,
            normalize_embeddings=self.normalize_embeddings,
            show_progress_bar=False,
        )
        return vectors

    @property
    def _n_features_out(self) -> int:
        """The number of columns, which scikit-learn names, also without `fit`."""
        return self._loaded().embedding_dim

    def _loaded(self) -> Model:
        if not isinstance(self.model, (str, os.PathLike)):
            raise TypeError(
                "model must be a name or a folder written by save_pretrained, got "
                f"{type(self.model).__name__}"
            )
        return shared_model(self.model)

    def __sklearn_is_fitted__(self) -> bool:
        """Return True, because there is nothing to fit."""
        return True

    def __sklearn_tags__(self) -> Any:
        """Return the tags; scikit-learn does not validate the input, which is images."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _images(X: Any) -> Any:
    """Return images in a form that `encode` accepts; of a table, return its only column."""
    if is_image(X):
        raise TypeError("X must be a sequence of images, got one image; put it in a list")
    X = only_column("X", X)
    if not isinstance(X, Iterable):
        raise TypeError(f"X must be a sequence of images, got {type(X).__name__}")
    return X
