"""The progress bar for embedding, which suggests a faster precision once."""

from __future__ import annotations

import sys

from birdembed.base.precisions import faster_than_float32
from birdembed.base.progress import is_shown, progress_bar

#: Minimum number of images of a long run, which takes about ten seconds on two cores.
LONG = 300
_said = False


class EmbeddingBar:
    """A progress bar over images.

    After the first long run in float32 it prints how to embed faster, if this processor supports
    it. This happens once per process, and only if the bar is shown.

    Parameters
    ----------
    show : bool or None
        None: only in a terminal or notebook.
    total : int or None
        Number of images, if known.
    precision : str or None
        Precision of the model, if known.
    """

    def __init__(self, show: bool | None, total: int | None, precision: str | None) -> None:
        self._shown = is_shown(show)
        self._bar = progress_bar(self._shown, total, "embedding")
        self._precision, self._seen = precision, 0

    def update(self, n: int = 1) -> None:
        """Add to the number of finished images."""
        self._seen += n
        self._bar.update(n)

    def close(self) -> None:
        """Close the bar, then print the suggestion."""
        global _said
        self._bar.close()
        if not self._shown or _said or self._seen < LONG or self._precision != "float32":
            return
        tip = faster_than_float32()
        if tip:
            _said = True
            print(f"embedded in float32; {tip}", file=sys.stderr)
