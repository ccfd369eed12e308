"""Show what an index holds as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from birdembed.display import html

if TYPE_CHECKING:
    from birdembed.search.index import Index
    from birdembed.search.index_file import Column

_MANY = 1_000_000  # rows from which nothing is counted


def index_html(index: Index, ids: Column, labels: Column, columns: Mapping[str, Column]) -> str:
    """Return what an index holds, and some of its pictures.

    The columns are handed in as the index stores them: `Index.labels` makes an object of each row.
    """
    facts: list[tuple[str, Any]] = [("rows", len(index))]
    if index.dim:
        facts.append(("numbers in a row", index.dim))
    if len(index) < _MANY:
        named = {label for label in labels if label is not None}
        if named:
            facts.append(("labels", f"{len(named)}: {html.some(sorted(map(str, named)))}"))
    if columns:
        facts.append(("columns", ", ".join(columns)))
    if index.fingerprint:
        facts.append(("fingerprint", index.fingerprint[:12]))
    facts.append(("model", "none" if index.model is None else repr(index.model)))
    if index.report is not None and index.report.failures:
        facts.append(("left out", html.count(len(index.report.failures), "bad file")))
    paths = columns.get("path", ())
    cells = []
    # Spread over the rows: neighbours are of one species.
    places = np.unique(np.linspace(0, len(index) - 1, html.PICTURES).astype(int))
    for row in places if len(index) else ():
        if row < len(paths) and paths[row] is not None:
            label = labels[row] if row < len(labels) else None
            cells.append(html.cell(paths[row], [label or html.name_of(ids[row])], title=ids[row]))
    return html.heading("Index") + html.table((), facts) + (html.grid([cells]) if cells else "")
