"""What the documentation site is made from: the modules of docs/, its table of contents."""

from __future__ import annotations

import importlib
import re
import sys
from types import ModuleType

from tests.docs.workplace import ROOT

DOCS = ROOT / "docs"


def module(name: str) -> ModuleType:
    """Return a module of docs/, which is no package."""
    sys.path.insert(0, str(DOCS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(DOCS))


def contents(text: str) -> list[str]:
    """Return the pages that the toctrees of a page name, Markdown or reStructuredText."""
    found = []
    for tree in re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        found += tree.splitlines()
    for tree in re.findall(r"^\.\. toctree::\n((?:   .*\n|\n)*)", text, re.MULTILINE):
        found += tree.splitlines()
    entries = [line.strip() for line in found if line.strip() and not line.strip().startswith(":")]
    return [re.sub(r".*<(.+)>$", r"\1", entry) for entry in entries]
