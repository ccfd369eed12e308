"""A matplotlib figure that is displayed in notebooks."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as _Figure
from matplotlib.text import Text

from birdembed.base.text import readable

DPI = 80  # on the screen; savefig(..., dpi=200) for print


class Figure(_Figure):
    """A matplotlib figure without a window system and without the global state of pyplot.

    Notebooks display it when it is the value of a cell, exactly once and without setting up
    matplotlib: as JPEG if it consists of images, else as PNG.
    """

    def __init__(self, *arguments: Any, images: bool = False, **options: Any) -> None:
        options.setdefault("dpi", DPI)
        super().__init__(*arguments, **options)
        self._as_jpeg = images
        FigureCanvasAgg(self)

    def draw(self, renderer: Any) -> None:
        """Draw the figure after replacing text that is not valid Unicode, which no font has."""
        for text in self.findobj(Text):
            text.set_text(readable(text.get_text()))
        super().draw(renderer)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save the figure to a file, including parts beyond its edge, such as long names."""
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
