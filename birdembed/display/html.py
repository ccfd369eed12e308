"""Notebook HTML: tables, cells and thumbnails.

The HTML only has plain tables with inline styles, because untrusted notebooks and pages that show
notebooks remove style sheets and scripts.
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Sequence
from typing import Any

from birdembed.base import text
from birdembed.images.thumbnails import SIDE, data_uri, thumbnail

_NAME = 22  # characters below a thumbnail
_CENTRE = "text-align:center;vertical-align:top;padding:3px 5px"
_LEFT = "text-align:left;padding:2px 10px 2px 4px"
#: Frame colours: query, right, wrong.
ASKED, RIGHT, WRONG = "#1f77b4", "#2a9d3f", "#d1495b"
#: Number of thumbnails per row; only a few, because each adds about 4 KB to the notebook file.
PICTURES = 8


def escaped(value: Any) -> str:
    """Return a value as text, escaped for use between tags and in quoted attributes."""
    return html.escape(text.readable(str(value)), quote=True)


def name_of(path: Any) -> str:
    """Return the last part of a path, or the text of anything else."""
    return os.path.basename(os.fspath(path)) if isinstance(path, (str, os.PathLike)) else str(path)


def score(value: float | None) -> str:
    """Return a score with three decimals."""
    return "" if value is None else f"{value:.3f}"


def number(value: Any) -> str:
    """Return a number with four significant digits, other values as text, "" for None."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def some(names: Sequence[str], limit: int = 6) -> str:
    """Return the first names, shortened, and the number of the others."""
    return text.some(names, limit, show=lambda name: text.shortened(name, 40))


def thumbnail_tag(image: Any, name: str, side: int = SIDE, frame: str | None = None) -> str:
    """Return an `img` element of a thumbnail, or a box with the reason if there is none."""
    edge = f"border:3px solid {frame}" if frame else "border:1px solid #b8b8b8"
    small = thumbnail(image, side)
    if isinstance(small, str):
        reason = small
    else:
        source = data_uri(small)
        height, width = small.shape[:2]
        if source is not None:
            return (
                f'<img src="{source}" width="{width}" height="{height}" alt="{escaped(name)}" '
                f'title="{escaped(name)}" style="{edge};margin:0 auto;max-width:none">'
            )
        reason = "thumbnails need Pillow: pip install 'birdembed[pillow]'"
    return (
        f'<div title="{escaped(reason)}" style="{edge};width:{side}px;height:{side}px;'
        f'overflow:hidden;font-size:75%;color:#888888;margin:0 auto">{escaped(reason[:120])}</div>'
    )


def cell(
    image: Any,
    lines: Iterable[Any],
    *,
    title: Any = None,
    frame: str | None = None,
    side: int = SIDE,
) -> str:
    """Return a table cell with a thumbnail and lines of text below it."""
    texts = [str(line) for line in lines if line is not None and str(line)]
    full = " ".join(texts) if title is None else str(title)
    below = "<br>".join(escaped(text.shortened(line, _NAME)) for line in texts)
    return (
        f'<td style="{_CENTRE}" title="{escaped(full)}">{thumbnail_tag(image, full, side, frame)}'
        f"<div>{below}</div></td>"
    )


def grid(rows: Iterable[Sequence[str]]) -> str:
    """Return a table of finished cells."""
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table><tbody>{body}</tbody></table>"


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], bold: int | None = None) -> str:
    """Return a table of texts, which are escaped here; row `bold` is bold."""
    top = "".join(f'<th style="{_LEFT}">{escaped(name)}</th>' for name in head)
    lines = []
    for place, row in enumerate(rows):
        style = _LEFT + (";font-weight:bold" if place == bold else "")
        cells = "".join(f'<td style="{style}">{escaped(value)}</td>' for value in row)
        lines.append(f"<tr>{cells}</tr>")
    body = f"<tbody>{''.join(lines)}</tbody>"
    return f"<table>{f'<thead><tr>{top}</tr></thead>' if head else ''}{body}</table>"


def heading(strong: Any, rest: Any = "") -> str:
    """Return a line above a table."""
    more = f" {escaped(rest)}" if str(rest) else ""
    return f"<div><b>{escaped(strong)}</b>{more}</div>"


def note(line: Any) -> str:
    """Return a small line below a table."""
    return f'<div style="font-size:85%;opacity:0.75">{escaped(line)}</div>' if line else ""
