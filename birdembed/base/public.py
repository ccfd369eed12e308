"""Give public classes the module name that users import them from."""

from __future__ import annotations

from typing import TypeVar

Class = TypeVar("Class", bound=type)


def public(cls: Class) -> Class:
    """Set the module of a class to `birdembed`, whatever file defines it.

    Pickles and tracebacks then have the public name, and pickles still load if the file moves.
    """
    # The price: `inspect.getsource(cls)`, and so IPython's `cls??`, looks for a class in the file
    # of the module it names, finds nothing in __init__.py, and says so by OSError; IPython shows
    # signature and docstring. Methods show their source, and editors follow the imports. (NumPy's
    # and httpx's classes do the same.) What would help is no better: a `__wrapped__` is inherited
    # by the classes of users, who would see ours for theirs, and a true `__module__` is in pickles.
    # Not in the class's body: there Python 3.13 keeps `__firstlineno__`, and `getsource` returns
    # the lines at that number in __init__.py, which are of something else.
    cls.__module__ = "birdembed"
    return cls
