"""The progress bar of long embedding runs, which mentions a faster precision once."""

from __future__ import annotations

import sys

from birdembed.base.precisions import faster_than_float32
from birdembed.base.progress import is_interactive, progress_bar

#: A run over so many images is long: some ten seconds on two cores.
LONG = 300
_said = False


class EmbeddingBar:
    """A progress bar over images.

    After the first long run in float32 it says in one line how to embed faster, where this
    processor can. It says so once per process, and never where the bar itself is not shown.

    Parameters
    ----------
    show : bool or None
        None: in a terminal or a notebook only.
    total : int or None
        Number of images, where it is known.
    precision : str or None
        What the model computes in, where it says so.
    """

    def __init__(self, show: bool | None, total: int | None, precision: str | None) -> None:
        self._bar = progress_bar(show, total, "embedding")
        self._shown = is_interactive() if show is None else bool(show)
        self._precision, self._seen = precision, 0

    def update(self, n: int = 1) -> None:
        """Count images."""
        self._seen += n
        self._bar.update(n)

    def close(self) -> None:
        """Close the bar, then write the line."""
        global _said
        self._bar.close()
        if not self._shown or _said or self._seen < LONG or self._precision != "float32":
            return
        tip = faster_than_float32()
        if tip:
            _said = True
            print(f"embedded in float32; {tip}", file=sys.stderr)
