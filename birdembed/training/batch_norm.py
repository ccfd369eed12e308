"""Unfold and measure batch norm statistics."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from birdembed import _core
from birdembed._core import BirdembedError
from birdembed.base.checks import BAD_FILES, check_choice, check_integer, check_threads
from birdembed.images import batches as batches_
from birdembed.images import sources
from birdembed.images.files import folder_of_images
from birdembed.model.stateful import set_snapshot, snapshot_of, writing
from birdembed.training.classes import spread_rows
from birdembed.training.param_groups import batch_norms
from birdembed.weights.tensors import not_finite

if TYPE_CHECKING:
    from birdembed.data.folder import ImageFolder
    from birdembed.model.model import Model

EPS = 1e-5  # of batch norm, as in torchvision
#: Number of training images used to measure the statistics of a folded model.
UNFOLD_IMAGES = 200
#: Tolerance for the variances of a folded model, which are 1 - 1e-5, or that value in float16.
_NEAR = 1e-3
Table = Sequence[tuple[str, tuple[int, ...]]]


def is_folded(state: Mapping[str, np.ndarray], table: Table) -> bool:
    """Return whether the batch norms of a model are folded into its convolutions.

    A folded batch norm only adds a bias. A newly initialised model, whose biases are all zero, is
    not folded: its batch norms have not been trained yet.
    """
    norms = batch_norms(table)
    for norm in norms:
        identity = (
            np.all(state[f"{norm}.weight"] == 1)
            and np.all(state[f"{norm}.running_mean"] == 0)
            and np.all(np.abs(state[f"{norm}.running_var"] - 1) <= _NEAR)
        )
        if not identity:
            return False
    return any(np.any(state[f"{norm}.bias"]) for norm in norms)


def unfold(
    state: Mapping[str, np.ndarray],
    table: Table,
    statistics: Sequence[tuple[NDArray[Any], NDArray[Any]]],
) -> dict[str, np.ndarray]:
    """Return weights of the same network whose batch norms have real statistics.

    Folded weights train badly, because nothing is normalised. This function uses the mean and
    variance of the output of each convolution as running statistics, and sets weight and bias to
    undo them. The network then gives the same embeddings (to 3e-6), and batch norm works as
    expected in training mode.

    Parameters
    ----------
    state : mapping of str to ndarray
        Folded weights.
    table : sequence of (name, shape)
    statistics : sequence of (mean, variance)
        For the output of each convolution, in the order of the table.
    """
    norms = batch_norms(table)
    if len(statistics) != len(norms):
        raise ValueError(f"{len(statistics)} statistics for {len(norms)} batch norms")
    unfolded = dict(state)
    for norm, (mean, variance) in zip(norms, statistics, strict=True):
        mean = np.asarray(mean, np.float32).astype(np.float64)
        variance = np.asarray(variance, np.float32).astype(np.float64)
        old = {
            leaf: state[f"{norm}.{leaf}"].astype(np.float64)
            for leaf in ("weight", "bias", "running_mean", "running_var")
        }
        scale = old["weight"] / np.sqrt(old["running_var"] + EPS)
        new = {
            "weight": scale * np.sqrt(variance + EPS),
            "bias": old["bias"] + (mean - old["running_mean"]) * scale,
            "running_mean": mean,
            "running_var": variance,
        }
        for leaf, values in new.items():
            unfolded[f"{norm}.{leaf}"] = values.astype(np.float32)
    return unfolded


def conv_statistics(
    network: Any, batches: Iterable[NDArray[np.float32]], table: Table, num_threads: int
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the mean and variance of the output of each convolution over batches of input."""
    norms = batch_norms(table)
    names = [name for name, _ in table]
    at = [names.index(f"{norm}.running_mean") for norm in norms]
    total = 0
    means = [np.zeros(table[i][1]) for i in at]
    squares = [np.zeros(table[i][1]) for i in at]
    for pixels in batches:
        n = len(pixels)
        if not n:
            continue
        # In the layout of parameters(): mean and variance replace the running statistics.
        values = network.conv_statistics(pixels, num_threads)
        for layer, i in enumerate(at):
            mean = np.asarray(values[i], np.float64)
            means[layer] += n * mean
            squares[layer] += n * (np.asarray(values[i + 1], np.float64) + mean**2)
        total += n
    if not total:
        raise ValueError("none of the training images can be read")
    return [
        (mean / total, np.maximum(square / total - (mean / total) ** 2, 0))
        for mean, square in zip(means, squares, strict=True)
    ]


def unfold_on(
    network: Any,
    state: Mapping[str, np.ndarray],
    table: Table,
    data: ImageFolder,
    preprocess: Any,
    *,
    seed: int = 0,
    num_threads: int = 0,
) -> dict[str, np.ndarray]:
    """Unfold a model with the statistics of up to 200 images of a dataset."""
    rows = spread_rows(data.labels, UNFOLD_IMAGES, seed)
    batches = batches_.batches(
        [data.paths[row] for row in rows],
        preprocess,
        25,
        num_threads=num_threads,
        on_error="skip",
    )
    statistics = conv_statistics(network, (b.pixels for b in batches), table, num_threads)
    return unfold(state, table, statistics)


def recalibrate_batch_norm(
    model: Model,
    data: Any,
    *,
    batch_size: int = 32,
    image_size: int | None = None,
    max_images: int | None = 2000,
    seed: int = 0,
    on_error: str = "raise",
    num_threads: int | None = None,
) -> None:
    """Measure the running statistics of the batch norms of a model again on a dataset.

    Use it if your images differ from the training images of the model in kind, size or lighting.
    The learned weights do not change. The embeddings change, and therefore the fingerprint.

    Parameters
    ----------
    model : Model
    data : str or Path, ImageFolder, or a list of images
        A folder is searched recursively. A list can contain anything that `Model.encode` accepts.
    batch_size : int
    image_size : int, optional
        Default: the model's ``preprocess.size``.
    max_images : int, optional
        Maximum number of images; larger datasets are sampled at random. None: use all images.
    seed : int
        Seed of the sample.
    on_error : {"raise", "skip"}
    num_threads : int, optional

    Raises
    ------
    TypeError
        `data` is a single image, or an option has another type.
    ValueError
        There are no images, none of them can be read, or an option is out of range.
    OSError
        The folder does not exist.
    BirdembedError
        Another call is changing the model, or a statistic would become NaN or infinite.
    """
    check_choice("on_error", on_error, BAD_FILES)
    if image_size is not None:
        image_size = check_integer("image_size", image_size, 1)
    if max_images is not None:
        max_images = check_integer("max_images", max_images, 1)
    seed, num_threads = check_integer("seed", seed, 0), check_threads(num_threads)
    paths = _all_images(data)
    order = np.random.default_rng([seed, 3]).permutation(len(paths))[:max_images]
    with writing(model, "recalibrate_batch_norm"):
        now = snapshot_of(model)
        state = now.trunk.state()
        table = _core.parameter_table(now.architecture, now.num_classes)
        preprocess = now.preprocess
        if image_size is not None:
            preprocess = replace(preprocess, size=image_size)
        core = _core.Trainer(now.architecture, now.num_classes, [state[name] for name, _ in table])
        nothing = np.zeros(len(table), np.float32)
        seen = 0
        for batch in batches_.batches(
            [paths[i] for i in order],
            preprocess,
            batch_size,
            num_threads=num_threads,
            on_error=on_error,
        ):
            n = len(batch.pixels)
            if not n:
                continue
            seen += n
            # A momentum of n / seen makes the running value the mean of all batches so far. All
            # parameters are trainable, because frozen ones keep their statistics; a learning rate
            # of 0 leaves the weights unchanged.
            core.configure("train", [True] * len(table), bn_momentum=n / seen)
            core.forward(batch.pixels, num_threads)
            core.apply("sgd", nothing, nothing, momentum=0.0)
        if not seen:
            raise ValueError("recalibrate_batch_norm: none of the images can be read")
        fresh = dict(zip([name for name, _ in table], core.parameters(), strict=True))
        name = not_finite(fresh)
        if name is not None:
            raise BirdembedError(f"recalibrate_batch_norm: {name} became NaN or infinite")
        set_snapshot(model, now.with_state(fresh, class_names=now.class_names))


def _all_images(data: Any) -> list[Any]:
    """Return the images of a folder, a dataset or an iterable."""
    if isinstance(data, (str, os.PathLike)):
        return list(folder_of_images(data).whole().paths)
    if sources.is_single(data):
        raise TypeError("data must be a folder, an ImageFolder or a list of images, got one image")
    return list(getattr(data, "paths", data))
