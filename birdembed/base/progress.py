"""Progress bars, shown in terminals and notebooks only."""

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
    """Return whether stderr is a terminal, or this is the kernel of a notebook.

    That some package has imported ipykernel (MLflow does) makes no notebook.
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
        None: in a terminal or a notebook only.
    total : int or None
        Number of steps, where it is known.
    description : str
        What stands beside the bar.
    """
    if show is None:
        show = is_interactive()
    if not show:
        return _Silent()
    from tqdm.auto import tqdm

    return tqdm(total=total, desc=description, unit="image")
