"""New matplotlib figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from birdembed.base.optional import need
from birdembed.base.text import readable, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = 26  # characters of a name that stands beside an axis


def figure_class() -> Any:
    """Return the class of our figures, or raise an error that says how to get matplotlib."""
    need("matplotlib.figure", "plot", "a plot")
    from birdembed.display.notebook_figure import Figure

    return Figure


def new_figure(width: float, height: float, *, images: bool = False) -> Figure:
    """Return an empty figure of a size in inches."""
    figure: Figure = figure_class()(figsize=(width, height), layout="constrained", images=images)
    return figure


def shorten(text: str) -> str:
    """Shorten a caption so that it fits beside an axis."""
    # matplotlib reads $...$ as mathematics.
    return shortened(readable(text).replace("$", r"\$"), TITLE)
