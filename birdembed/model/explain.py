"""Explain which parts of two images match."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.public import public
from birdembed.images import batches, sources
from birdembed.model.stateful import snapshot_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from birdembed.model.model import Model


@public
@dataclass(frozen=True, eq=False)
class Explanation:
    """Result of `explain_match`: the similarity of two images, split into pairs of cells.

    Attributes
    ----------
    score : float
        Cosine similarity of the two embeddings: the mean of `pairs`.
    pairs : ndarray
        `(h, w, h, w)` float64: contribution of cell (i, j) of `a` and cell (k, l) of `b`.
    map_a, map_b : ndarray
        `(h, w)` float64: mean of `pairs` over the cells of the other image. The mean of each map
        is the score.
    image_a, image_b : ndarray
        `(size, size, 3)` uint8: the images as the network sees them.
    """

    score: float
    pairs: NDArray[np.float64]
    map_a: NDArray[np.float64]
    map_b: NDArray[np.float64]
    image_a: NDArray[np.uint8]
    image_b: NDArray[np.uint8]

    def best_pairs(self, k: int = 5) -> list[tuple[tuple[int, int], tuple[int, int], float]]:
        """Return the pairs of cells that contribute most, using each cell at most once.

        Parameters
        ----------
        k : int
            Maximum number of pairs.

        Returns
        -------
        list of ((int, int), (int, int), float)
            Row and column of a cell of `a`, row and column of a cell of `b`, and the contribution.
        """
        h, w = self.map_a.shape
        left = self.pairs.reshape(h * w, -1).copy()
        found = []
        for _ in range(min(k, h * w)):
            i, j = divmod(int(left.argmax()), left.shape[1])
            found.append((divmod(i, w), divmod(j, w), float(left[i, j])))
            left[i], left[:, j] = -np.inf, -np.inf
        return found

    def plot(self, **options: Any) -> Figure:
        """Plot both images with heat maps and the strongest pairs of cells.

        Parameters
        ----------
        **options
            Passed to `birdembed.plot_explanation`.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from birdembed.display.explanation import plot_explanation

        return plot_explanation(self, **options)

    def __repr__(self) -> str:
        """Return the score and the strongest pair as text."""
        a, b, value = self.best_pairs(1)[0]
        return f"Explanation(score {self.score:.4f}, strongest cells {a} and {b}: {value:.3f})"


def explain_match(model: Model, a: Any, b: Any, *, projection: bool | None = None) -> Explanation:
    """Explain the similarity of two images as a sum over pairs of cells.

    Parameters
    ----------
    model : Model
    a, b : image
        A single image each.
    projection : bool, optional
        See `Model.encode`.

    Returns
    -------
    Explanation

    Raises
    ------
    TypeError
        `a` or `b` is not a single image.
    ValueError
        The embedding is GeM-pooled (as for the projection of SSCD), so it is not a mean of cells.
    DecodeError
        An image cannot be read.

    Notes
    -----
    The last feature map of an image has N = h w cells (49 at 224 px) of 512 or 2048 numbers, u_i
    for `a` and v_j for `b`, and the embedding is their mean: x = 1/N sum_i u_i, y = 1/N sum_j v_j.
    The dot product is linear in both, so::

        cos(x, y) = x . y / (|x| |y|) = 1/N^2 sum_ij  u_i . v_j / (|x| |y|).

    Each of the N^2 terms is the contribution of one pair of cells, and their mean is exactly the
    similarity, without approximations or gradients. A projection (x - m) P is affine, so the same
    holds with u_i replaced by (u_i - m) P. With `Preprocess(mirror=True)` the embedding is the
    mean over the image and its mirror image; the cells of the mirror image are flipped back and
    averaged with the others.
    """
    for name, image in (("a", a), ("b", b)):
        if not sources.is_single(image):
            raise TypeError(f"{name} must be one image, got {type(image).__name__}")
    now = snapshot_of(model)
    chosen = now.chosen(projection)
    if (now.pooling if chosen is None else chosen.pooling) != "avg":
        raise ValueError(
            "this embedding is GeM-pooled, so it is not a mean of cells; pass projection=False"
        )
    (batch,) = batches.batches([a, b], now.preprocess, 2)
    maps = now.maps(batch.pixels, 0).astype(np.float64)
    if batch.mirrored is not None:
        maps = (maps + now.maps(batch.mirrored, 0)[..., ::-1]) / 2
    n, _, h, w = maps.shape
    cells = maps.reshape(n, -1, h * w).transpose(0, 2, 1)
    if chosen is not None:
        cells = (cells - chosen.mean.astype(np.float64)) @ chosen.matrix.astype(np.float64)
    length = float(np.prod(np.linalg.norm(cells.mean(axis=1), axis=1)))
    pairs = cells[0] @ cells[1].T / (length or 1.0)
    shown = _shown(batch.pixels, now.preprocess)
    return Explanation(
        score=float(pairs.mean()),
        pairs=pairs.reshape(h, w, h, w),
        map_a=pairs.mean(axis=1).reshape(h, w),
        map_b=pairs.mean(axis=0).reshape(h, w),
        image_a=shown[0],
        image_b=shown[1],
    )


def _shown(pixels: NDArray[np.float32], cfg: Any) -> NDArray[np.uint8]:
    """Convert network input back to images."""
    mean = np.asarray(cfg.mean)[:, None, None]
    std = np.asarray(cfg.std)[:, None, None]
    levels = np.clip(np.rint((pixels * std + mean) * 255), 0, 255)
    return np.ascontiguousarray(levels.astype(np.uint8).transpose(0, 2, 3, 1))
