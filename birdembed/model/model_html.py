"""Describe a model in HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from birdembed.base.text import counted
from birdembed.display import html
from birdembed.model.snapshot import precision_note

if TYPE_CHECKING:
    from birdembed.model.snapshot import Snapshot


def model_html(now: Snapshot) -> str:
    """Return a table of architecture, source, input, embedding, classes, precision and gallery."""
    sizes = now.preprocess
    facts: list[tuple[str, Any]] = [
        ("architecture", now.architecture),
        ("from", now.source),
        ("input", f"{sizes.size} px, {sizes.resize}" + (", mirrored too" if sizes.mirror else "")),
        ("embedding", f"{now.dim(now.default_projection)} numbers"),
        ("classifier", _classes(now)),
    ]
    if now.precision != "float32":
        why = "" if now.choice is None or now.precision != "auto" else f" ({now.choice.reason})"
        facts.append(("precision", f"{precision_note(now).strip(', ')}{why}"))
    if now.gallery is not None:
        species = sorted({str(label) for label in now.gallery.index.labels})
        limit = "" if now.threshold is None else f"; known from {now.threshold:.3f} up"
        facts.append(("gallery", f"{len(species)} species: {html.some(species)}{limit}"))
    return html.heading("Model") + html.table((), facts)


def _classes(now: Snapshot) -> str:
    """Return the number of classes and the names of some."""
    if not now.num_classes:
        return "none"
    names = now.class_names
    return counted(now.num_classes, "class", "classes") + (f": {html.some(names)}" if names else "")
