"""Code blocks, links and headings of Markdown pages."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

PYTHON = "python"
SHELL = "shell"
OUTPUT = "output"
#: What a block's first word says it is. Nothing else is run; and nothing else is allowed, so that
#: a block cannot escape by being called something new.
KINDS = {
    "python": PYTHON,
    "shell": SHELL,
    "sh": SHELL,
    "bash": SHELL,
    "output": OUTPUT,
    **dict.fromkeys(
        ("{toctree}", "text", "json", "yaml", "toml", "dockerfile", "html", "c"), "other"
    ),
}


class Block(NamedTuple):
    """One code block: its kind, the page's line on which its text begins, the text."""

    kind: str
    line: int
    text: str


def blocks(page: Path) -> list[Block]:
    """Return a page's code blocks in order; an indented block is for the shell."""
    found = []
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        if token.type == "code_block":
            found.append(Block(SHELL, token.map[0] + 1, token.content))
        elif token.type == "fence":
            language = (token.info.split() or ["text"])[0]
            if language not in KINDS:
                raise ValueError(f"{page}:{token.map[0] + 1}: what is a {language!r} block?")
            found.append(Block(KINDS[language], token.map[0] + 2, token.content))
    return found


def links(page: Path) -> list[tuple[int, str]]:
    """Return line and target of each link and picture."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        for child in token.children or ():
            target = child.attrs.get("href") or child.attrs.get("src")
            if target:
                found.append((token.map[0] + 1 if token.map else 0, str(target)))
    return found


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings get."""
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    found = set()
    for heading, inline in itertools.pairwise(tokens):
        if heading.type == "heading_open":
            words = re.sub(r"[^\w\- ]", "", inline.content.lower())
            found.add(words.replace(" ", "-"))
    return found
