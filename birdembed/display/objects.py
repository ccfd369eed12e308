"""HTML views of models, indexes and results for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from birdembed.display.html import (
    ASKED,
    RIGHT,
    WRONG,
    cell,
    grid,
    heading,
    name_of,
    note,
    score,
    shortened,
    table,
)

if TYPE_CHECKING:
    from birdembed.data.folder import ImageFolder
    from birdembed.evaluation.evaluation import Evaluation
    from birdembed.model.model import Model
    from birdembed.search.index import Index
    from birdembed.search.results import SearchResult
    from birdembed.species.identify import Identification
    from birdembed.training.history import History

# Few thumbnails: each is some 4 KB of the notebook's file.
_MATCHES, _QUERIES = 6, 4
_PICTURES = 8
_EPOCHS = 30  # rows of a history
_MANY = 1_000_000  # rows from which nothing is counted


def search_result(result: SearchResult) -> str:
    """Show queries and their best matches."""
    rows = [result] if result.scores.ndim == 1 else [result[i] for i in range(len(result))]
    lines = []
    for row in rows[:_QUERIES]:
        asked = row._image if row._image is not None else row.query
        name = "query" if row.query is None else name_of(row.query)
        cells = [cell(asked, ["searched for", name], title=row.query, frame=ASKED)]
        for match in list(row)[:_MATCHES]:
            name = match.label if match.label is not None else name_of(match.id)
            cells.append(cell(match.path, [name, score(match.score)], title=match.id))
        lines.append(cells)
    shown = min(_MATCHES, result.scores.shape[-1])
    more = [
        text
        for left, text in (
            (result.scores.shape[-1] - shown, "{} more matches"),
            (len(rows) - _QUERIES, "{} more queries"),
        )
        if left > 0
        for text in [text.format(left)]
    ]
    return grid(lines) + note(("and " + ", ".join(more)) if more else "")


def image_folder(data: ImageFolder) -> str:
    """Show one picture of each of the first classes, and how many there are."""
    n, classes = len(data), len(data.class_names)
    counts = np.bincount(data.labels, minlength=classes)
    cells = []
    for label in range(min(classes, _PICTURES)):
        first = np.flatnonzero(data.labels == label)[:1]
        path = data.paths[int(first[0])] if len(first) else None
        name = data.class_names[label]
        cells.append(cell(path, [name, _count(int(counts[label]), "image")], title=name))
    rest = classes - len(cells)
    least, most = (int(counts.min()), int(counts.max())) if classes else (0, 0)
    per_class = f"{least} to {most} in a class" if least < most else ""
    return (
        heading("ImageFolder", f"{_count(n, 'image')}, {_count(classes, 'class', 'classes')}")
        + grid([cells])
        + note(", ".join(filter(None, [f"and {rest} more classes" if rest > 0 else "", per_class])))
        + note(data.root or "")
    )


def index(rows: Index) -> str:
    """Show what an index holds, and its first pictures."""
    facts: list[tuple[str, Any]] = [("rows", len(rows))]
    if rows.dim:
        facts.append(("numbers in a row", rows.dim))
    if len(rows) < _MANY:
        named = {label for label in rows._labels if label is not None}
        if named:
            facts.append(("labels", f"{len(named)}: {_some(sorted(map(str, named)))}"))
    if rows._metadata:
        facts.append(("columns", ", ".join(rows._metadata)))
    if rows.fingerprint:
        facts.append(("fingerprint", rows.fingerprint[:12]))
    facts.append(("model", "none" if rows.model is None else repr(rows.model)))
    if rows.report is not None and rows.report.failures:
        facts.append(("left out", _count(len(rows.report.failures), "bad file")))
    paths = rows._metadata.get("path", ())
    cells = []
    # Spread over the rows: neighbours are of one species.
    for row in np.unique(np.linspace(0, len(rows) - 1, _PICTURES).astype(int)) if len(rows) else ():
        if row < len(paths) and paths[row] is not None:
            label = rows._labels[row] if row < len(rows._labels) else None
            id_ = rows._ids[row]
            cells.append(cell(paths[row], [label or name_of(id_)], title=id_))
    return heading("Index") + table((), facts) + (grid([cells]) if cells else "")


def model(net: Model) -> str:
    """Show what a model is."""
    now = net._current
    sizes = now.preprocess
    facts: list[tuple[str, Any]] = [
        ("architecture", net.architecture),
        ("from", now.source),
        ("input", f"{sizes.size} px, {sizes.resize}" + (", mirrored too" if sizes.mirror else "")),
        ("embedding", f"{net.embedding_dim} numbers"),
        ("classifier", _classes(net)),
    ]
    if now.gallery is not None:
        species = sorted({str(label) for label in now.gallery.index._labels})
        limit = "" if now.threshold is None else f"; known from {now.threshold:.3f} up"
        facts.append(("gallery", f"{len(species)} species: {_some(species)}{limit}"))
    return heading("Model") + table((), facts)


def _classes(net: Model) -> str:
    if not net.num_classes:
        return "none"
    names = net.class_names
    return _count(net.num_classes, "class", "classes") + (f": {_some(names)}" if names else "")


def history(past: History) -> str:
    """Show the epochs, the best one in bold."""
    if not past.epochs:
        return heading("History", "no epoch has ended")
    keys = list(dict.fromkeys(key for logs in past.epochs for key in logs))
    epochs = past.epochs
    note_text = ""
    if len(epochs) > _EPOCHS:
        best = past.best
        kept = epochs[-_EPOCHS:]
        epochs = kept if best in kept else [best, *kept]
        note_text = f"the last {_EPOCHS} of {len(past.epochs)} epochs and the best"
    rows = [[_number(logs.get(key)) for key in keys] for logs in epochs]
    text = note_text or "the best epoch in bold"
    return table(keys, rows, bold=epochs.index(past.best)) + note(text)


def identifications(found: Sequence[Identification]) -> str:
    """Show photographs and the species they were found to be."""
    cells = []
    for one in found[: 2 * _PICTURES]:
        lines = [one.species, score(one.score)]
        if not one.known:
            lines = ["none of the known", f"nearest: {one.species}", score(one.score)]
        title = "\n".join(f"{name}: {score(value)}" for name, value in one.matches)
        frame = RIGHT if one.known else WRONG
        cells.append(cell(one._image, lines, title=title, frame=frame))
    rest = len(found) - len(cells)
    rows = [cells[i : i + _PICTURES] for i in range(0, len(cells), _PICTURES)]
    return grid(rows) + note(f"and {rest} more" if rest > 0 else "")


def identification(found: Identification, image: Any) -> str:
    """Show a photograph and the nearest species."""
    verdict = f"{found.species}" if found.known else "none of the known species"
    rows = table(("species", "similarity"), [(name, score(x)) for name, x in found.matches])
    if image is None:
        return heading(verdict) + rows
    frame = RIGHT if found.known else WRONG
    return heading(verdict) + grid(
        [[cell(image, [], title=verdict, frame=frame), f'<td style="border:0">{rows}</td>']]
    )


def evaluation(result: Evaluation) -> str:
    """Show the single numbers, what changes do, and the commonest mistakes."""
    values = result.to_dict(scalars=True)
    plain = [(key, _number(v)) for key, v in values.items() if not key.startswith("robustness.")]
    parts = [heading("Evaluation"), table(("", ""), plain)]
    if result.robustness:
        keys = list(dict.fromkeys(key for row in result.robustness.values() for key in row))
        rows = [
            [change, *(_number(row.get(key)) for key in keys)]
            for change, row in result.robustness.items()
        ]
        parts.append(table(["changed", *keys], rows))
    confused = result.most_confused(5)
    if confused:
        rows = [[c.true, c.found, str(c.pictures), f"{c.share:.0%}"] for c in confused]
        parts.append(table(["shows", "taken for", "pictures", "share"], rows))
    if result.failures:
        parts.append(note(f"{_count(len(result.failures), 'image')} could not be read"))
    return "".join(parts)


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _count(n: int, one: str, many: str | None = None) -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def _some(names: Sequence[str], limit: int = 6) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(shortened(name, 40) for name in names[:limit]) + more
