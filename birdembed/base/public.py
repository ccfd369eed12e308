"""Give public classes the module name that users import them from."""

from __future__ import annotations

from typing import TypeVar

Class = TypeVar("Class", bound=type)


def public(cls: Class) -> Class:
    """Set the module of a class to `birdembed`, whatever file defines it.

    Pickles and tracebacks then have the public name, and pickles still load if the file moves.
    """
    # The drawback: `inspect.getsource(cls)`, and therefore `cls??` in IPython, looks for the class
    # in __init__.py, does not find it, and raises an OSError; IPython then shows the signature and
    # the docstring. The source of methods is shown, and editors follow the imports. (The classes of
    # NumPy and httpx behave in the same way.) The alternatives are not better: `__wrapped__` would
    # be inherited by subclasses of users, and the real `__module__` would end up in pickles.
    # This is not done in the class body, because Python 3.13 stores `__firstlineno__` there, and
    # `getsource` would return unrelated lines of __init__.py.
    cls.__module__ = "birdembed"
    return cls
