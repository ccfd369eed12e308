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
        A folder written by `Model.save_pretrained` (an existing folder takes precedence over
        other names, but not over a bundled model: use ``"./birds477"`` for a folder of that name);
        ``"birds477"``, the bundled model fine-tuned on 476 species; ``"sscd"``, a pre-trained trunk
        (download it with `birdembed fetch sscd`); or ``"resnet50"``, ``"resnet34d"`` and the other
        architectures (see `Model`), ``"resnet50d.a1_in1k"`` or any ``"owner/name"`` on the Hugging
        Face Hub, which needs the extra ``hub``. With `weights`, the name of the architecture.
    weights : str or Path, optional
        A safetensors or `.pth` file (pickled code is never executed), or a folder.
    preprocess : Preprocess, optional
        Preprocessing to use instead of the one stored with the weights. Default for a plain
        weights file: ``Preprocess()``.
    num_classes : int, optional
        ``None`` keeps the classifier, if the weights have one; 0 removes it.
    projection : bool
        Apply the projection by default; for ``"sscd"`` this is GeM pooling and 512 dimensions.
    precision : {"float32", "bfloat16", "int8", "auto"}, optional
        Number format of the network, see `Model.precision`. Default: the environment variable
        BIRDEMBED_PRECISION; if it is not set, int8 for a model saved after `Model.quantize`, and
        float32 for others. int8 only works for quantized models and needs AVX2. bfloat16
        needs AVX512_BF16 or AMX and takes half the time or less; embeddings differ by less than
        0.001 in cosine similarity. "auto" picks the fastest format with such a small difference on
        the first images. The fingerprint is the same for all precisions, so their embeddings can
        be searched together.
    revision : str, optional
        Branch, tag or commit on the hub. The first download resolves it to a commit, which is used
        from then on.
    local_files_only : bool
        Do not connect to the hub.

    Returns
    -------
    Model

    Raises
    ------
    WeightsError
        The model cannot be found or downloaded, is damaged, or does not match. The message says
        what to do.
    ValueError
        `projection=True` for a model without a projection, an unknown `precision`, or int8 for a
        model that was not quantized.
    BackendError
        The processor does not support `precision`, or int8 for a quantized model;
        ``precision="float32"`` always works.
    """
    return Model.from_pretrained(
        name,
        weights=weights,
        preprocess=preprocess,
        num_classes=num_classes,
        projection=projection,
        precision=precision,
        revision=revision,
        local_files_only=local_files_only,
    )
