"""Read preprocessing settings from the config files of timm and transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from birdembed._core import WeightsError
from birdembed.base.text import error_text, shown
from birdembed.images.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess

#: Numbers of PIL, which transformers uses.
_RESAMPLE = {2: "bilinear", 3: "bicubic"}
_ADVICE = "pass preprocess= to set the preprocessing yourself"


def preprocess_to_timm(preprocess: Preprocess) -> dict[str, Any]:
    """Return the preprocessing as keys of a timm `pretrained_cfg`."""
    size = int(preprocess.size)
    return {
        "input_size": [3, size, size],
        "interpolation": preprocess.interpolation,
        "crop_pct": float(preprocess.crop_pct),
        "crop_mode": "squash" if preprocess.resize == "squash" else "center",
        "mean": [float(v) for v in preprocess.mean],
        "std": [float(v) for v in preprocess.std],
    }


def _make(path: str, **fields: Any) -> Preprocess:
    try:
        return Preprocess(**fields)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{path}: {error_text(error)}; {_ADVICE}") from error


def _given(cfg: Mapping[str, Any], key: str, default: Any) -> Any:
    """Return the value of a key, or the default if it is missing or null."""
    value = cfg.get(key)
    return default if value is None else value


def preprocess_from_timm(cfg: Mapping[str, Any], path: str, *, mirror: bool = False) -> Preprocess:
    """Return the preprocessing of a timm `pretrained_cfg`.

    Uses the keys for training (`input_size`, `crop_pct`) like `resolve_model_data_config` of timm,
    not `test_input_size`.

    Raises
    ------
    WeightsError
        The preprocessing is not supported; the message starts with `path`.
    """
    shape = _given(cfg, "input_size", [3, 224, 224])
    mode = _given(cfg, "crop_mode", "center")
    square = isinstance(shape, list) and len(shape) == 3 and shape[1] == shape[2]
    if not square or shape[0] != 3:
        raise WeightsError(f"{path}: input_size {shown(shape)} is not (3, n, n); {_ADVICE}")
    if mode not in ("center", "squash"):
        raise WeightsError(f"{path}: crop_mode {shown(mode)} is not center or squash; {_ADVICE}")
    return _make(
        path,
        size=shape[-1],
        resize="squash" if mode == "squash" else "shortest",
        crop_pct=_given(cfg, "crop_pct", 0.875),  # as in timm
        interpolation=_given(cfg, "interpolation", "bicubic"),
        mean=_given(cfg, "mean", IMAGENET_MEAN),
        std=_given(cfg, "std", IMAGENET_STD),
        mirror=mirror,
    )


def _edge(value: Any, path: str) -> tuple[int, bool]:
    """Return the edge of a transformers size, and whether both sides are resized to it."""
    edge, both = value, False
    if isinstance(value, Mapping):
        both = "shortest_edge" not in value and value.get("height") == value.get("width")
        edge = value.get("height" if both else "shortest_edge")
    if type(edge) is int:
        return edge, both
    raise WeightsError(f"{path}: size {shown(value)} is not supported; {_ADVICE}")


def preprocess_from_transformers(cfg: Mapping[str, Any], path: str) -> Preprocess:
    """Return the preprocessing of a transformers `preprocessor_config.json`.

    The processor of ConvNext (used by microsoft/resnet-50) resizes the short side to
    `int(size / crop_pct)` and crops if `size` is below 384; otherwise it squashes. Other
    processors have `crop_size`, or squash.

    Raises
    ------
    WeightsError
        The preprocessing is not supported; the message starts with `path`.
    """
    for key in ("do_resize", "do_normalize", "do_rescale"):
        if cfg.get(key) is False:
            raise WeightsError(f"{path}: {key} is false; {_ADVICE}")
    factor = _given(cfg, "rescale_factor", 1 / 255)
    if not isinstance(factor, float) or abs(factor * 255 - 1) > 1e-6:
        raise WeightsError(f"{path}: rescale_factor is not 1/255; {_ADVICE}")
    resample = cfg.get("resample", 3)
    if resample not in _RESAMPLE:
        raise WeightsError(
            f"{path}: resample {shown(resample)} is not bilinear or bicubic; {_ADVICE}"
        )
    edge, square = _edge(cfg.get("size", 224), path)
    size, crop_pct = edge, 1.0
    kind = str(cfg.get("image_processor_type") or cfg.get("feature_extractor_type") or "")
    if kind.startswith("ConvNext") or "crop_pct" in cfg:
        square = edge >= 384
        crop_pct = 1.0 if square else _given(cfg, "crop_pct", 224 / 256)
    elif cfg.get("do_center_crop"):
        size, _ = _edge(cfg.get("crop_size", edge), path)
        if square or size > edge:
            raise WeightsError(f"{path}: a crop of {size} from {shown(cfg.get('size'))}; {_ADVICE}")
        # floor(size / crop_pct) must give the edge again, so use the middle of its interval.
        crop_pct = size / (edge + 0.5) if size != edge else 1.0
    elif not square:
        raise WeightsError(f"{path}: size {shown(cfg.get('size'))} without a crop; {_ADVICE}")
    return _make(
        path,
        size=size,
        resize="squash" if square else "shortest",
        crop_pct=crop_pct,
        interpolation=_RESAMPLE[resample],
        mean=_given(cfg, "image_mean", IMAGENET_MEAN),
        std=_given(cfg, "image_std", IMAGENET_STD),
    )
