"""Progress bars, by default only in terminals and notebooks."""

from __future__ import annotations

import sys
from typing import Any


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
    if show is None:
        show = is_interactive()
    if not show:
        return _Silent()
    from tqdm.auto import tqdm

    return tqdm(total=total, desc=description, unit="image")
