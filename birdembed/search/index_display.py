"""Describe an index as text and as HTML."""

from __future__ import annotations

from typing import Any

import numpy as np

from birdembed.base.text import counted
from birdembed.display import html
from birdembed.images.report import EncodeReport
from birdembed.search.rows import Rows

_MANY = 1_000_000  # rows above which labels are not counted


def index_text(rows: Rows, with_model: bool) -> str:
    """Return a one-line summary of an index."""
    text = f"Index({len(rows)} rows"
    text += f" of {rows.dim} numbers" if rows.dim else ""
    labels = _labels(rows)
    text += f", {len(labels)} labels" if labels else ""
    text += f", columns {', '.join(rows.columns)}" if rows.columns else ""
    text += f", made with {rows.maker.name}" if rows.maker else ""
    text += f", fingerprint {rows.fingerprint[:12]}" if rows.fingerprint else ""
    return text + (", with a model)" if with_model else ")")


def index_html(rows: Rows, model: Any, report: EncodeReport | None) -> str:
    """Return a summary of an index as HTML, with some of its images."""
    facts: list[tuple[str, Any]] = [("rows", len(rows))]
    if rows.dim:
        facts.append(("numbers in a row", rows.dim))
    labels = _labels(rows)
    if labels:
        facts.append(("labels", f"{len(labels)}: {html.some(sorted(map(str, labels)))}"))
    if rows.columns:
        facts.append(("columns", ", ".join(rows.columns)))
    if rows.fingerprint:
        facts.append(("fingerprint", rows.fingerprint[:12]))
    facts.append(("model", "none" if model is None else repr(model)))
    if report is not None and report.failures:
        facts.append(("left out", counted(len(report.failures), "bad file")))
    cells = _pictures(rows)
    return html.heading("Index") + html.table((), facts) + (html.grid([cells]) if cells else "")


def _labels(rows: Rows) -> set[Any]:
    """Return the set of labels; empty if there are too many rows to go through."""
    if len(rows) >= _MANY:
        return set()
    return {label for label in rows.labels if label is not None}


def _pictures(rows: Rows) -> list[str]:
    """Return table cells with the images of some rows that have a path."""
    cells, paths = [], rows.paths
    # Spread over the rows, because neighbouring rows usually show the same species.
    places = np.unique(np.linspace(0, len(rows) - 1, html.PICTURES).astype(int))
    for row in places if len(rows) else ():
        if paths[row] is not None:
            label, name = rows.labels[row], rows.ids[row]
            cells.append(html.cell(paths[row], [label or html.name_of(name)], title=name))
    return cells
