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
from birdembed.images.sources import is_image
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
    """Turn images into vectors, as `Model.encode` does.

    It learns nothing: `fit` loads the model and notes its fingerprint. The model is named, not
    held, and loaded once a process: `clone`, grid search and pickles stay small, and every process
    of joblib loads its own.

    Parameters
    ----------
    model : str or Path
        As `birdembed.load_model` takes it. A `Model` that was changed here has to be saved first
        (`save_pretrained`), because each process must find it.
    batch_size : int
        Images in memory at a time. The vectors do not depend on it.
    normalize_embeddings : bool
        Scale each vector to length 1, for what measures Euclidean distances.

    Attributes
    ----------
    fingerprint_ : str
        Of the model that `fit` saw. `transform` refuses another one under the same name.

    Notes
    -----
    Inputs are paths, bytes, PIL images or uint8 arrays, as a list, an object array, a Series, or a
    table with one column; a uint8 array ``(n, h, w, c)``; an `ImageFolder`. Arrays are grey or
    RGB(A); OpenCV's are BGR: ``image[..., ::-1]``.
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
        """Load the model; the images are not looked at.

        Parameters
        ----------
        X : sequence of images
        y : ignored

        Returns
        -------
        ImageEmbedder
            Itself.

        Raises
        ------
        TypeError
            `model` is no name, or X is no sequence of images.
        WeightsError
            There is no such model.
        """
        _images(X)
        model = self._loaded()
        self.fingerprint_ = model.fingerprint
        self._n_features_out = model.embedding_dim
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
            The model of this name is not the one that `fit` saw.
        """
        images = _images(X)
        model = self._loaded()
        seen = getattr(self, "fingerprint_", None)
        other = f"the model {os.fspath(self.model)!r} now"
        advice = "fit again, or put the model back"
        check_same_model("the fitted transformer", seen, other, model.fingerprint, advice)
        vectors: NDArray[np.float32] = model.encode(
            images,
            batch_size=self.batch_size,
            normalize_embeddings=self.normalize_embeddings,
            show_progress_bar=False,
        )
        return vectors

    def _loaded(self) -> Model:
        if not isinstance(self.model, (str, os.PathLike)):
            raise TypeError(
                "model must be a name or a folder that save_pretrained wrote, got "
                f"{type(self.model).__name__}"
            )
        return shared_model(self.model)

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: there is nothing to fit."""
        return True

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: input is images, which scikit-learn does not check."""
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
    """Return images as `encode` takes them; a table of one column becomes that column."""
    if is_image(X):
        raise TypeError("X must be a sequence of images, got one image: put it in a list")
    if getattr(X, "ndim", None) == 2 and (hasattr(X, "columns") or X.dtype == object):
        if X.shape[1] != 1:
            raise ValueError(f"X must have one column, that of the images, got {X.shape[1]}")
        X = X.iloc[:, 0] if hasattr(X, "iloc") else X[:, 0]
    if not isinstance(X, Iterable):
        raise TypeError(f"X must be a sequence of images, got {type(X).__name__}")
    return X
