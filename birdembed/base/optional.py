"""Import optional dependencies."""

from __future__ import annotations

import importlib
from typing import Any


def need(module: str, extra: str, what: str) -> Any:
    """Import a library, or raise an error with the extra that installs it.

    Parameters
    ----------
    module : str
        Module to import.
    extra : str
        Extra of this package that installs it.
    what : str
        Feature that needs it, for the message.

    Raises
    ------
    ImportError
        The module is not installed. The message says which extra to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and not module.startswith(error.name.split(".")[0]):
            raise  # it is installed, but one of its own dependencies is missing
        raise ImportError(
            f"{what} needs {module.split('.')[0]}: pip install 'birdembed[{extra}]'",
            name=error.name,
        ) from error
