"""Show the progress of training: bars and log lines.

A terminal that was closed, or a full disk for messages, must not end a training: an error of
standard error is ignored.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from typing import Any

from birdembed.base.progress import is_interactive, is_shown

log = logging.getLogger("birdembed")
#: Seconds between two lines if there is no terminal.
_LINE_EVERY = 30.0


class Reporter:
    """Shows the progress of a training.

    Parameters
    ----------
    show : bool or None
        True: bars in a terminal, lines on stderr elsewhere. False: only messages to the logger
        ``birdembed``. None: True in a terminal or notebook, else False.
    """

    def __init__(self, show: bool | None) -> None:
        self._terminal = is_interactive()
        self._show = self._terminal if show is None else is_shown(show)
        self._bar: Any = None
        self._header = ""  # header of the table that the last line belongs to

    def say(self, text: str) -> None:
        """Print a line, above the progress bar if there is one."""
        self._header = ""
        self._print(text)

    def row(self, header: str, text: str) -> None:
        """Print a row of a table, and first its header if the last line was not of this table."""
        if header != self._header:
            self._print(header)
        self._header = header
        self._print(text)

    def _print(self, text: str) -> None:
        log.info(text)
        if not self._show:
            return
        with contextlib.suppress(OSError):
            if self._terminal:
                from tqdm.auto import tqdm

                tqdm.write(text, file=sys.stderr)
            else:
                print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Print a warning."""
        if self._show:
            self.say(text)
        else:
            log.warning(text)

    def start(self, title: str, total: int, done: int = 0) -> None:
        """Start a progress bar over images."""
        self._title, self._total, self._done = title, total, done
        self._began = self._line_at = time.monotonic()
        self._first = done
        if self._show and self._terminal:
            from tqdm.auto import tqdm

            with contextlib.suppress(OSError):
                self._bar = tqdm(total=total, initial=done, desc=title, unit="image", leave=False)

    def update(self, images: int, **values: float) -> None:
        """Add to the number of finished images; `values` are shown next to it."""
        self._done += images
        text = {key: f"{value:.3f}" for key, value in values.items()}
        if self._bar is not None:
            with contextlib.suppress(OSError):
                if text:
                    self._bar.set_postfix(text, refresh=False)
                self._bar.update(images)
            return
        now = time.monotonic()
        if not self._show or now - self._line_at < _LINE_EVERY:
            return
        self._line_at = now
        rate = (self._done - self._first) / max(now - self._began, 1e-9)
        left = (self._total - self._done) / max(rate, 1e-9)
        shown = "".join(f"  {key} {value}" for key, value in text.items())
        self.say(
            f"{self._title}: {self._done}/{self._total}{shown}  {rate:.1f} images/s, "
            f"{duration(left)} left"
        )

    def close(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.close()
            self._bar = None


def duration(seconds: float) -> str:
    """Return minutes and seconds, or hours and minutes."""
    whole = round(max(seconds, 0))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60}:{whole % 60:02d} min"


def seconds_left(sizes: list[int], trained: float, afterwards: float) -> float:
    """Estimate the time for the remaining epochs from the last one, in seconds.

    Parameters
    ----------
    sizes : list of int
        Image sizes: of the finished epoch, then of the remaining ones. An image of twice the side
        takes four times as long.
    trained, afterwards : float
        Seconds of the finished epoch: for training, and for work that does not depend on the size.
    """
    pixels = [size**2 for size in sizes]
    return trained * sum(pixels[1:]) / pixels[0] + afterwards * len(pixels[1:])


def clock(seconds: float) -> str:
    """Return a time as 1:02 or 1:02:03."""
    whole = round(max(seconds, 0))
    minutes = f"{whole % 3600 // 60}:{whole % 60:02d}"
    return minutes if whole < 3600 else f"{whole // 3600}:{minutes:0>5}"


#: Keys of an epoch's logs, with the title and width of their column and the decimals.
_COLUMNS = (
    ("train_loss", "loss", 6, 4),
    ("train_accuracy", "acc.", 5, 3),
    ("valid_loss", "valid loss", 10, 4),
    ("valid_accuracy", "valid acc.", 10, 3),
    ("precision_at_1", "P@1", 5, 3),
    ("map_at_r", "MAP@R", 5, 3),
)


def epoch_row(logs: dict[str, Any], epochs: int, left: float) -> tuple[str, str]:
    """Return the header of the table of epochs, and the row of a finished epoch.

    With every column they are 78 characters wide, so that they fit a terminal of 80.
    """
    header, row = [f"{'epoch':>7}"], [f"{logs['epoch']}/{epochs}".rjust(7)]
    for key, title, width, decimals in _COLUMNS:
        if key in logs:
            header.append(title.rjust(width))
            value = logs[key]
            text = f"{value:.{decimals}f}" if abs(value) < 10 else f"{value:.{decimals + 1}g}"
            row.append(text.rjust(width))
    for title, value in (("time", clock(logs["seconds"])), ("left", clock(left))):
        header.append(title.rjust(7))
        row.append(value.rjust(7))
    return "  ".join(header), "  ".join(row)
