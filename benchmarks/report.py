"""Show all comparisons in one table and one plot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import US, Result


def table(results: Sequence[Result]) -> str:
    """Return one line per comparison with a peer: both rates, the ratio and its quartiles."""
    lines = [("case", "peer", US, "peer's", "ratio", "quartiles")]
    for result in results:
        summary = result.summary()
        for peer, row in summary.items():
            if "ratio" not in row:
                continue
            lines.append(
                (
                    result.case,
                    peer,
                    f"{summary[US]['rate']:.4g} {result.unit}",
                    f"{row['rate']:.4g}",
                    f"{row['ratio']:.2f}",
                    f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}",
                )
            )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def draw(results: Sequence[Result], path: Path) -> str:
    """Plot the ratios with quartiles; return a message with the path, or why there is no plot."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        return "no plot: matplotlib is not installed"
    rows = [
        (f"{result.case}: {peer}", row["ratio"], row["ratio_low"], row["ratio_high"])
        for result in results
        for peer, row in result.summary().items()
        if "ratio" in row
    ]
    if not rows:
        return "no plot: nothing to compare"
    names, middles, lows, highs = zip(*reversed(rows), strict=True)
    figure, axes = plt.subplots(figsize=(9, 1 + 0.25 * len(rows)), layout="constrained")
    places = range(len(rows))
    axes.hlines(places, lows, highs, color="0.6", linewidth=3)
    colors = ["tab:green" if middle >= 1 else "tab:red" for middle in middles]
    axes.scatter(middles, places, color=colors, zorder=3)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(places, names, fontsize=7)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("speed of birdembed relative to the peer (median, quartiles)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return f"written: {os.path.relpath(path)}"
