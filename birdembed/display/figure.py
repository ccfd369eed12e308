"""Create matplotlib figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from birdembed.base.optional import need
from birdembed.base.text import readable, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = 26  # maximum characters of a name next to an axis
NAMED = 60  # maximum number of classes whose means or places are drawn with names


def figure_class() -> Any:
    """Return the figure class, or raise an error that says how to install matplotlib."""
    need("matplotlib.figure", "plot", "a plot")
    from birdembed.display.notebook_figure import Figure

    return Figure


def new_figure(width: float, height: float, *, images: bool = False) -> Figure:
    """Return an empty figure with the given size in inches."""
    figure: Figure = figure_class()(figsize=(width, height), layout="constrained", images=images)
    return figure


def shorten(text: str) -> str:
    """Shorten a caption so that it fits next to an axis."""
    # matplotlib interprets $...$ as mathematics.
    return shortened(readable(text).replace("$", r"\$"), TITLE)
