"""A matplotlib figure that shows itself in notebooks."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as _Figure
from matplotlib.text import Text

from birdembed.base.text import readable

DPI = 80  # on the screen; savefig(..., dpi=200) for print


class Figure(_Figure):
    """A matplotlib figure that no window system and no global list knows of.

    Notebooks show it when it is the value of a cell, once, without any set-up of matplotlib:
    as JPEG where it consists of images, else as PNG.
    """

    def __init__(self, *arguments: Any, images: bool = False, **options: Any) -> None:
        options.setdefault("dpi", DPI)
        super().__init__(*arguments, **options)
        self._as_jpeg = images
        FigureCanvasAgg(self)

    def draw(self, renderer: Any) -> None:
        """Draw the figure; names that are no Unicode text, which no font has, become readable."""
        for text in self.findobj(Text):
            text.set_text(readable(text.get_text()))
        super().draw(renderer)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write the figure to a file, with what reaches beyond its edge, such as long names."""
        super().savefig(fname, **{"bbox_inches": "tight", "pad_inches": 0.04, **options})

    def _repr_png_(self) -> bytes | None:
        return None if self._as_jpeg else self._bytes("png", {"optimize": True})

    def _repr_jpeg_(self) -> bytes | None:
        options = {"quality": 88, "subsampling": 0, "optimize": True}
        return self._bytes("jpeg", options) if self._as_jpeg else None

    def _bytes(self, form: str, options: dict[str, Any]) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format=form, facecolor="white", pil_kwargs=options)
        return file.getvalue()
