"""Show the progress of training: bars and log lines."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from birdembed.base.progress import is_interactive

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
        self._show = self._terminal if show is None else bool(show)
        self._bar: Any = None

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        log.info(text)
        if not self._show:
            return
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

            self._bar = tqdm(total=total, initial=done, desc=title, unit="image", leave=False)

    def update(self, images: int, **values: float) -> None:
        """Add to the number of finished images; `values` are shown next to it."""
        self._done += images
        text = {key: f"{value:.3f}" for key, value in values.items()}
        if self._bar is not None:
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


def epoch_line(logs: dict[str, Any], epochs: int, left: float) -> str:
    """Return one line about a finished epoch."""
    parts = [
        f"epoch {logs['epoch']}/{epochs}",
        f"loss {logs['train_loss']:.4f}",
    ]
    for key, title in (
        ("train_accuracy", "accuracy"),
        ("valid_loss", "valid loss"),
        ("valid_accuracy", "valid accuracy"),
        ("precision_at_1", "P@1"),
        ("map_at_r", "MAP@R"),
    ):
        if key in logs:
            parts.append(f"{title} {logs[key]:.3f}")
    parts.append(f"{logs['images_per_second']:.1f} images/s")
    parts.append(duration(logs["seconds"]))
    if left > 0:
        parts.append(f"about {duration(left)} left")
    return "  ".join(parts)
