"""Show a dataset in a notebook."""

from __future__ import annotations

from typing import Any

import numpy as np


def folder_html(data: Any) -> str:
    """Return HTML with an example image and the number of images of each class."""
    from birdembed.base.text import counted
    from birdembed.display import html

    n, classes = len(data), len(data.class_names)
    counts = np.bincount(data.labels[data.labels >= 0], minlength=classes)
    cells = []
    for label in range(min(classes, html.PICTURES)):
        first = np.flatnonzero(data.labels == label)[:1]
        path = data.paths[int(first[0])] if len(first) else None
        name = data.class_names[label]
        below = [name, counted(int(counts[label]), "image")]
        cells.append(html.cell(path, below, title=name))
    rest = classes - len(cells)
    least, most = (int(counts.min()), int(counts.max())) if classes else (0, 0)
    more = [f"and {rest} more classes"] if rest > 0 else []
    more += [f"{least} to {most} per class"] if least < most else []
    unlabelled = n - int(counts.sum())
    more += [f"{counted(unlabelled, 'image')} without a label"] if unlabelled else []
    held = f"{counted(n, 'image')}, {counted(classes, 'class', 'classes')}"
    return (
        html.heading("ImageFolder", held)
        + html.grid([cells])
        + html.note(", ".join(more))
        + html.note(data.root or "")
    )
