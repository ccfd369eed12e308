"""Load a model by name, path or hub id."""

from __future__ import annotations

import os

from birdembed.images.preprocess import Preprocess
from birdembed.model.model import Model
from birdembed.pretrained.registry import DEFAULT_MODEL


def load_model(
    name: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    weights: str | os.PathLike[str] | None = None,
    preprocess: Preprocess | None = None,
    num_classes: int | None = None,
    projection: bool = False,
    precision: str | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> Model:
    """Load a model.

    Parameters
    ----------
    name : str or Path
        A folder that `Model.save_pretrained` wrote (an existing folder wins); ``"birds477"``,
        which knows 476 species of birds and is bundled; ``"sscd"``, a real pre-trained trunk
        (`birdembed fetch sscd` gets it); ``"resnet50"``, ``"resnet50d"``,
        ``"resnet50d.a1_in1k"`` or any ``"owner/name"``: from the Hugging Face hub, which needs
        the extra ``hub``. With `weights`, the architecture.
    weights : str or Path, optional
        A safetensors or `.pth` file (no pickled code is ever run), or a folder.
    preprocess : Preprocess, optional
        Instead of the one that comes with the weights; a bare weights file comes with none and
        gets ``Preprocess()``.
    num_classes : int, optional
        ``None`` keeps a classifier that the weights have, 0 drops it.
    projection : bool
        Project by default; for ``"sscd"`` its GeM pooling and 512 numbers.
    precision : {"float32", "bfloat16", "int8", "auto"}, optional
        What the network computes in, as `Model.precision` says; by default the environment's
        BIRDEMBED_PRECISION, else int8 for a model that was saved after `Model.quantize`, and
        float32 for others. int8 is for the former alone and needs AVX512_VNNI. bfloat16 needs
        AVX512_BF16 or AMX, where it takes half the time or less; embeddings differ by less than
        0.001 in cosine. "auto" is the fastest for which that holds on the first images. The
        fingerprint is the same: embeddings of all precisions may be searched together.
    revision : str, optional
        Branch, tag or commit on the hub. What the first download resolves it to stays.
    local_files_only : bool
        Do not ask the hub.

    Returns
    -------
    Model

    Raises
    ------
    WeightsError
        The model is not here, cannot be had, is damaged or does not fit; the message says what
        to do.
    ValueError
        `projection=True` for a model that has none; an unknown `precision`; int8 for a model
        that was not quantized.
    BackendError
        This processor has not got `precision`, or int8 for a model that was quantized:
        ``precision="float32"`` loads it in any case.
    """
    return Model.from_pretrained(
        os.fspath(name),
        weights=weights,
        preprocess=preprocess,
        num_classes=num_classes,
        projection=projection,
        precision=precision,
        revision=revision,
        local_files_only=local_files_only,
    )
