"""Ray: embed a Dataset with actors, one model per actor. Extra: ``ray``.

>>> import ray                                                           # doctest: +SKIP
>>> from birdembed.integrations.ray import embed_dataset                 # doctest: +SKIP
>>> paths = ray.data.from_items([{"path": path} for path in files])      # doctest: +SKIP
>>> embed_dataset(paths, "sscd", column="path").write_parquet("birds")   # doctest: +SKIP
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from birdembed.base.checks import check_boolean, check_integer, check_number, check_string
from birdembed.base.optional import need
from birdembed.base.text import shown
from birdembed.model.shared import shared_model
from birdembed.pretrained.registry import DEFAULT_MODEL

ray = need("ray", "ray", "birdembed.integrations.ray")
need("ray.data", "ray", "birdembed.integrations.ray")

if TYPE_CHECKING:
    import pyarrow as pa

ADDED = ("embedding", "error")


def embed_dataset(
    dataset: Any,
    model: Any = DEFAULT_MODEL,
    column: str = "path",
    *,
    batch_size: int = 32,
    concurrency: int | tuple[int, int] | None = None,
    num_cpus: float = 1,
    normalize_embeddings: bool = False,
) -> Any:
    """Embed the images of a Ray Dataset.

    The dataset is lazy: embedding starts when it is consumed (``write_parquet``, ``write_lance``,
    ``iter_batches``, ...). If an actor or its machine dies, another actor embeds its rows; each
    row appears once in the result.

    Parameters
    ----------
    dataset : ray.data.Dataset
        Rows with paths of images (str) or the content of files (bytes). Paths must be readable on
        every machine.
    model : Model, str or Path
        A `Model` is sent to each machine once. A name or folder is loaded by each actor.
    column : str
        Name of the column with the images.
    batch_size : int
        Number of rows per batch.
    concurrency : int or (int, int), optional
        Number of actors, or minimum and maximum. Default: from one to as many as the CPUs of the
        cluster allow.
    num_cpus : float
        Number of CPUs per actor, which is also its number of threads (at least one).
    normalize_embeddings : bool
        Scale each vector to length 1.

    Returns
    -------
    ray.data.Dataset
        The same rows with two more columns: `embedding` (a fixed-size list of float32, null for
        an unreadable file) and `error` (the reason, null for a readable file).

    Raises
    ------
    ValueError
        `dataset` already has a column with one of these names, or has no column `column`. If its
        columns are not known yet, the error is raised when the dataset is consumed. Or a number is
        too small.
    TypeError
        An argument has another type.
    """
    check_string("column", column)
    batch_size = check_integer("batch_size", batch_size, 1)
    num_cpus = check_number("num_cpus", num_cpus, 0)
    normalize_embeddings = check_boolean("normalize_embeddings", normalize_embeddings)
    limits = None if concurrency is None else _limits(concurrency)
    if not hasattr(dataset, "map_batches"):
        raise TypeError(
            "dataset must be a Ray Dataset, such as ray.data.from_items returns, got "
            f"{shown(dataset)}"
        )
    given = _sent(model)
    schema = dataset.schema(fetch_if_missing=False)
    if schema is not None:
        _check_columns(list(schema.names), column)
    least, most = _as_many_as_fit(num_cpus) if limits is None else limits
    return dataset.map_batches(
        _Embedder,
        fn_constructor_args=(given, column, max(1, int(num_cpus)), normalize_embeddings),
        batch_format="pyarrow",
        batch_size=batch_size,
        compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most),
        num_cpus=num_cpus,
    )  # by default Ray Data restarts an actor that dies and repeats its batch


def _sent(model: Any) -> Any:
    """Return the source from which the actors load the model: a reference, folder or name."""
    if isinstance(model, (str, os.PathLike)):
        return os.path.abspath(model) if os.path.isdir(model) else os.fspath(model)
    if hasattr(model, "encode"):
        return ray.put(model)  # once per machine, not per actor
    raise TypeError(f"model must be a Model, a name or a folder, got {type(model).__name__}")


def _limits(concurrency: int | tuple[int, int]) -> tuple[int, int]:
    """Return the checked minimum and maximum number of actors."""
    if not isinstance(concurrency, (tuple, list)):
        number = check_integer("concurrency", concurrency, 1)
        return number, number
    if len(concurrency) != 2:
        raise ValueError(
            f"concurrency must be a number, or minimum and maximum, got {shown(concurrency)}"
        )
    least = check_integer("the minimum of concurrency", concurrency[0], 1)
    return least, check_integer("the maximum of concurrency", concurrency[1], least)


def _as_many_as_fit(num_cpus: float) -> tuple[int, int]:
    """Return the minimum and maximum number of actors for the CPUs of the cluster."""
    processors = ray.cluster_resources().get("CPU", 1)
    return 1, max(1, int(processors / num_cpus) if num_cpus else 1)


def _check_columns(names: list[str], column: str) -> None:
    if column not in names:
        raise ValueError(f"no column {column!r} in the dataset, which has {', '.join(names)}")
    there = [name for name in ADDED if name in names]
    if there:
        raise ValueError(
            f"the dataset already has a column {' and '.join(map(repr, there))}; rename or drop it"
        )


class _Embedder:
    """An actor that embeds batches with its model."""

    def __init__(self, model: Any, column: str, num_threads: int, normalize: bool):
        self.model = ray.get(model) if isinstance(model, ray.ObjectRef) else shared_model(model)
        self.column, self.num_threads, self.normalize = column, num_threads, normalize

    def __call__(self, batch: pa.Table) -> pa.Table:
        import pyarrow as pa

        from birdembed.search.arrow import vector_array

        _check_columns(batch.column_names, self.column)
        images = batch.column(self.column).to_pylist()
        wrong = next((i for i in images if not isinstance(i, (str, bytes, type(None)))), None)
        if wrong is not None:
            raise TypeError(
                f"column {self.column!r} must hold paths (str) or files (bytes), got "
                f"{batch.schema.field(self.column).type}"
            )
        vectors, errors = self._embed(images)
        present = np.asarray([error is None for error in errors], bool)
        batch = batch.append_column("embedding", vector_array(vectors, present))
        return batch.append_column("error", pa.array(errors, pa.string()))

    def _embed(self, images: list[Any]) -> tuple[np.ndarray, list[str | None]]:
        """Return vectors `(n, dim)`, and for each row the error or None."""
        errors: list[str | None] = ["null: no image" if i is None else None for i in images]
        given = [row for row, image in enumerate(images) if image is not None]
        found, report = self.model.encode(
            [images[row] for row in given],
            batch_size=max(1, len(given)),
            normalize_embeddings=self.normalize,
            show_progress_bar=False,
            on_error="skip",
            return_report=True,
            num_threads=self.num_threads,
        )
        vectors = np.zeros((len(images), found.shape[1]), np.float32)
        vectors[[given[position] for position in report.kept]] = found
        for position, _, reason in report.failures:
            errors[given[position]] = reason
        return vectors, errors
