"""Copy pages from outside docs/ into the site: README, changelog, notebooks and others.

In the repository they stay where readers look for them. A build copies them into folders that git
ignores, and `relink` changes the links between all pages to the copies.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
#: Files of the repository, and their pages on the site.
PAGES = {
    "README.md": "project/readme",
    "CHANGELOG.md": "project/changelog",
    "ARCHITECTURE.md": "project/architecture",
    "CONTRIBUTING.md": "project/contributing",
    "THIRD_PARTY.md": "project/third-party",
    "csrc/README.md": "project/core",
    "benchmarks/README.md": "project/benchmarks",
    "benchmarks/layers.md": "project/layers",
    "birdembed/pretrained/bundled/birds477/README.md": "project/birds477",
    **{
        f"notebooks/{path.name}": f"notebooks/{path.stem}"
        for path in sorted(ROOT.glob("notebooks/*.ipynb"))
    },
}
#: Folders that git ignores and each build creates again.
FOLDERS = ("project", "notebooks")
_SOURCES = {page: ROOT / name for name, page in PAGES.items()}
_COPIES = {ROOT / name: DOCS / (page + Path(name).suffix) for name, page in PAGES.items()}
_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[#)])")


def copy_pages() -> None:
    """Copy the pages into their folders, which are emptied first."""
    for name in FOLDERS:
        shutil.rmtree(DOCS / name, ignore_errors=True)
        (DOCS / name).mkdir()
    for source, copy in _COPIES.items():
        shutil.copyfile(source, copy)


def relink(page: str, text: str) -> str:
    """Return the text of a page with its relative links adapted to the page's new location."""
    here = (DOCS / page).parent
    home = _SOURCES.get(page, DOCS / page).parent

    def moved(match: re.Match[str]) -> str:
        target = (home / match[1]).resolve()
        if target not in _COPIES and (page not in _SOURCES or not target.exists()):
            return match[1]
        return Path(os.path.relpath(_COPIES.get(target, target), here)).as_posix()

    return _LINK.sub(moved, text)
