"""Targets for the features of a network, made from the embeddings of teachers.

A ResNet's features are means of the output of a ReLU: none is below 0. So the teachers' embeddings
cannot be targets as they are. A *code* of an embedding is one: the embedding is rotated into the
space of the features, a constant is subtracted, and what is below 0 becomes 0. Codes of similar
embeddings are similar, and those of unrelated ones have a cosine near 0.1.
"""

from typing import Any

import numpy as np

Array = np.ndarray
#: Number of main directions of the embeddings that the codes keep.
DIRECTIONS = 512
#: How far the embeddings of a species move to their mean: species with more images than the mean,
#: and others. Without it, two photos of a species have a cosine of 0.3 for the teachers.
PULL_MANY, PULL_FEW = 0.8, 0.5
#: Constant to subtract, in standard deviations. A fifth of a code is above 0.
LEAST = 0.4
#: Number of images that are enough to find the rotation.
ENOUGH = 6000


def feature_codes(model: Any, data: Any, embeddings: Array) -> Array:
    """Return the codes of embeddings, rows of length 1: (n, features) float32.

    Parameters
    ----------
    model : Model
        The rotation brings the codes as close as possible to its features (Schönemann 1966, "A
        generalized solution of the orthogonal Procrustes problem"). So training starts close to
        its goal, with a mean cosine of 0.8.
    data : ImageFolder
        The n images; a label of -1 is an image without a bird.
    embeddings : (n, dim) float32
    """
    labels = data.labels
    birds = labels >= 0
    counts = np.bincount(labels[birds])
    shares = np.where(birds, (1 / counts)[labels], 0)  # all species count the same
    rows = unit(main_directions(embeddings, shares))
    means = unit(np.stack([rows[labels == i].mean(axis=0) for i in range(len(counts))]))
    pull = np.where(counts > counts.mean(), PULL_MANY, PULL_FEW)
    share = np.where(birds, pull[labels], 0)[:, None]
    rows = unit((1 - share) * rows + share * means[labels])
    some = np.flatnonzero(birds)
    some = some[:: max(1, len(some) // ENOUGH)]
    rotation = nearest_rotation(rows[some], unit(model.encode(data[some])), shares[some])
    positive = np.maximum(rows @ rotation * np.sqrt(rotation.shape[1]) - LEAST, 0)
    return np.asarray(unit(positive), np.float32)


def main_directions(embeddings: Array, shares: Array) -> Array:
    """Return the embeddings minus their mean, in their main directions."""
    shares = (shares / shares.sum())[:, None]
    rows = embeddings - (shares * embeddings).sum(axis=0)
    directions = np.linalg.eigh((rows * shares).T @ rows)[1]
    return np.asarray(rows @ directions[:, ::-1][:, :DIRECTIONS])


def nearest_rotation(rows: Array, features: Array, shares: Array) -> Array:
    """Return the matrix (dim, features) with orthonormal rows that best maps rows to features."""
    shares = (shares / shares.sum())[:, None]
    apart = features - (shares * features).sum(axis=0)
    left, _, right = np.linalg.svd((rows * shares).T @ apart, full_matrices=False)
    return np.asarray(left @ right)


def unit(rows: Array) -> Array:
    """Return the rows scaled to length 1."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
