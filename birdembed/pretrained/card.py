"""Write the model card, README.md, from config.json."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from birdembed.base.json_text import json_text

CARD = "README.md"
#: Marks generated cards, which a later save replaces, unlike cards written by people.
MARK = "<!-- Written by birdembed from config.json. Remove this line to keep your changes. -->"
_SCORES = {
    "valid_accuracy": "accuracy of the classifier",
    "valid_loss": "loss",
    "precision_at_1": "precision@1 (is the nearest image of the same species?)",
    "map_at_r": "MAP@R",
}
_GALLERY = {
    "accuracy": "right species, known species only",
    "known_accepted": "images of known species that are accepted",
    "unknown_accepted": "images of species outside the gallery that are accepted",
    "auroc": "AUROC, species in the gallery against others",
}
#: The weights that a training may have started from, and what to keep if the result is shared.
_STARTS = {
    "birds477": "`birds477` has the MIT licence of birdembed. Its training started from SSCD "
    "disc_mixup (Meta, MIT licence). If you share this model, keep both notices: `LICENSE` of "
    "birdembed, and `LICENSE.sscd`, which birdembed has beside `birds477`.",
    "sscd": "`sscd` is SSCD disc_mixup (Meta, MIT licence). If you share this model, keep the "
    "notice that `birdembed fetch sscd` stored beside the weights.",
}
_OPTIONS = ("epochs", "batch_size", "image_size", "lr", "optimizer", "augment", "loss")


def model_card(config: Mapping[str, Any], name: str) -> str:
    """Return a model card that the Hugging Face Hub renders.

    Parameters
    ----------
    config : mapping
        Content of config.json.
    name : str
        Title of the card.
    """
    training = _object(config["birdembed"], "training")
    parts = [
        _front_matter(config, training),
        f"{MARK}\n\n# {name}\n\n{_summary(config, training)}",
        _table(("", ""), _facts(config)),
        _use(config, name),
    ]
    parts += _training(training)
    parts += _licences(training)
    names = config["pretrained_cfg"].get("label_names")
    if names:
        described = config["pretrained_cfg"].get("label_descriptions") or {}
        listed = "\n".join(f"- {_plain(described.get(label, label))}" for label in names)
        parts.append(f"## Classes\n\n{listed}")
    return "\n\n".join(parts) + "\n"


def _front_matter(config: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    """Return the YAML block that the hub reads; JSON strings are valid YAML strings."""
    tags = ["birdembed", "image-feature-extraction"]
    tags += ["image-classification"] if config["num_classes"] else []
    tags += ["timm"] if _suits_timm(config) else []
    tags.append(config["architecture"])
    lines = [
        "library_name: birdembed",
        "pipeline_tag: image-feature-extraction",
        f"tags: {json_text(tags)}",
    ]
    base = str(training.get("started_from") or "").partition("@")[0]
    if base.count("/") == 1:
        lines.append(f"base_model: {json_text(base)}")
    return "\n".join(["---", *lines, "---"])


def _summary(config: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    """Return one or two sentences about the model."""
    projection = config["birdembed"].get("projection") or {}
    dim = "" if projection.get("default") else f" of {config['num_features']} numbers"
    text = f"A {config['architecture']} that turns images into embeddings{dim}."
    classes, start = config["num_classes"], training.get("started_from")
    if classes:
        text += f" It has a classifier for {classes} classes."
    return text + (f" It was fine-tuned from {_plain(start)}." if start else "")


def _facts(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of the table that describes the model."""
    cfg, own = config["pretrained_cfg"], config["birdembed"]
    side = cfg["input_size"][1]
    how = "resized without keeping the aspect ratio" if cfg["crop_mode"] == "squash" else "cropped"
    rows = [
        ("input", f"{side} x {side} pixels, {how}, {cfg['interpolation']}"),
        ("mean, standard deviation", f"{cfg['mean']}, {cfg['std']}"),
        ("weights", own["dtype"]),
        ("fingerprint", f"`{own['fingerprint']}`"),
    ]
    if own.get("projection"):
        default = "applied by default" if own["projection"]["default"] else "with projection=True"
        rows.append(("projection", default))
    if own.get("gallery"):
        rows.append(("gallery", "yes, for `identify`"))
    if own.get("threshold") is not None:
        rows.append(("threshold of a known species", f"{own['threshold']:.3f}"))
    return rows


def _use(config: Mapping[str, Any], name: str) -> str:
    """Return the section that shows how to use the model."""
    lines = [
        "import birdembed as be",
        "",
        f"model = be.load_model({json_text(name)})  # this folder, or OWNER/NAME on the hub",
        'vector = model.encode("photo.jpg")',
    ]
    if config["birdembed"].get("gallery"):
        lines.append('print(model.identify("photo.jpg"))')
    elif config["num_classes"]:
        lines.append('print(model.predict("photo.jpg"))')
    use = "## Use\n\n```python\n" + "\n".join(lines) + "\n```"
    return use + ("\n\ntimm loads this model too." if _suits_timm(config) else "")


def _suits_timm(config: Mapping[str, Any]) -> bool:
    """Return whether timm can read the weights."""
    return bool(config["birdembed"]["dtype"] != "int8")


def _training(training: Mapping[str, Any]) -> list[str]:
    """Return the sections about the training and the gallery, if there are numbers."""
    parts = []
    options, data = _object(training, "config"), _object(training, "data")
    best = _object(training, "best")
    if options:
        rows = [("data", f"{data.get('train_images')} images of {data.get('classes')} classes")]
        rows += [
            (name, _option(options[name])) for name in _OPTIONS if options.get(name) is not None
        ]
        parts.append("## Training\n\n" + _table(("", ""), rows))
    scores = [(text, f"{best[k]:.4f}") for k, text in _SCORES.items() if _number(best.get(k))]
    if scores:
        head = f"Best epoch ({best.get('epoch')}), on {data.get('valid_images')} other images:"
        parts.append(f"{head}\n\n" + _table(("score", "value"), scores))
    gallery = _object(training, "gallery")
    rows = [(text, f"{gallery[k]:.3f}") for k, text in _GALLERY.items() if _number(gallery.get(k))]
    if rows:
        parts.append("## Known and unseen species\n\n" + _table(("share", "value"), rows))
    return parts


def _licences(training: Mapping[str, Any]) -> list[str]:
    """Return the section about the licences of the weights that the training started from."""
    earlier: Mapping[str, Any] = training
    while earlier:
        start = earlier.get("started_from")
        if isinstance(start, str) and start in _STARTS:
            return [f"## Licences\n\n{_STARTS[start]}"]
        earlier = _object(earlier, "before")
    return []


def _object(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object of a record; {} for another type, because other programs write records."""
    value = values.get(name)
    return value if isinstance(value, Mapping) else {}


def _option(value: Any) -> str:
    """Return the value of an option of the training as text, without the hashes of arrays."""
    if isinstance(value, list):
        return "; ".join(map(_option, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return re.sub(r"<[^>]*>", "array", str(value))


def _number(value: Any) -> bool:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return plain and abs(value) <= sys.float_info.max


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    """Return a Markdown table of two columns."""
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    return "\n".join(lines + [f"| {_plain(name)} | {_plain(value)} |" for name, value in rows])


def _plain(text: Any) -> str:
    """Return text on one line, without characters that end a table cell."""
    return " ".join(str(text).split()).replace("|", "\\|")
