"""New matplotlib figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from birdembed.base.optional import need
from birdembed.base.text import shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = 26  # characters of a name that stands beside an axis


def figure_class() -> Any:
    """Return the class of our figures; an error that says what to install without matplotlib."""
    need("matplotlib.figure", "plot", "a picture")
    from birdembed.display.notebook_figure import Figure

    return Figure


def new_figure(width: float, height: float, *, photographs: bool = False) -> Figure:
    """Return an empty figure of so many inches."""
    figure: Figure = figure_class()(
        figsize=(width, height), layout="constrained", photographs=photographs
    )
    return figure


def shorten(text: str) -> str:
    """Shorten a caption so that it fits below an image."""
    # matplotlib reads $...$ as mathematics.
    return shortened(text.replace("$", r"\$"), TITLE)
