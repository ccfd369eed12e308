"""Imports of optional dependencies."""

from __future__ import annotations

import importlib
from typing import Any


def need(module: str, extra: str, what: str) -> Any:
    """Import a library, or raise an error that names the extra that installs it.

    Parameters
    ----------
    module : str
        What to import.
    extra : str
        Of this package, that installs it.
    what : str
        What needs it, for the message.

    Raises
    ------
    ImportError
        It is not installed; the message says which extra to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and not module.startswith(error.name.split(".")[0]):
            raise  # it is there, and something that it needs itself is not
        raise ImportError(
            f"{what} needs {module.split('.')[0]}: pip install 'birdembed[{extra}]'",
            name=error.name,
        ) from error
