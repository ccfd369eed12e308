"""Progress bars, by default only in terminals and notebooks."""

from __future__ import annotations

import sys
from typing import Any

from birdembed.base.checks import check_boolean


class _Silent:
    """A progress bar that shows nothing."""

    def update(self, n: int = 1) -> None:
        pass

    def close(self) -> None:
        pass


def is_interactive() -> bool:
    """Return whether stderr is a terminal, or this process is the kernel of a notebook.

    It is not enough that a package such as MLflow has imported ipykernel.
    """
    if sys.stderr.isatty():
        return True
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


def is_shown(show: Any) -> bool:
    """Return whether to show progress, for a checked argument `show_progress_bar`.

    None means: only in a terminal or notebook.
    """
    return is_interactive() if show is None else check_boolean("show_progress_bar", show)


def progress_bar(show: bool | None, total: int | None, description: str) -> Any:
    """Return an object with `update(n)` and `close()`.

    Parameters
    ----------
    show : bool or None
        None: only in a terminal or notebook.
    total : int or None
        Number of steps, if known.
    description : str
        Text next to the bar.
    """
    if not is_shown(show):
        return _Silent()
    from tqdm.auto import tqdm

    return tqdm(total=total, desc=description, unit="image")
