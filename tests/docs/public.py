"""Everything that users may call: the names of `birdembed`, of its classes, of its integrations."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any, NamedTuple

import birdembed
from birdembed import integrations

#: What a class has of its own accord, and users call by syntax.
PROTOCOL = {"__call__"}


class Public(NamedTuple):
    """A public name and what it stands for."""

    name: str
    value: Any

    def __str__(self) -> str:
        return self.name


def modules() -> tuple[list[ModuleType], list[str]]:
    """Return the public modules, and the names of those whose extra is not installed."""
    found, missing = [birdembed], []
    for info in pkgutil.iter_modules(integrations.__path__, "birdembed.integrations."):
        if info.name.rpartition(".")[2].startswith("_"):
            continue
        try:
            found.append(importlib.import_module(info.name))
        except ImportError:
            missing.append(info.name)
    return found, missing


def names_of(module: ModuleType) -> list[str]:
    """Return a module's public names: its `__all__`, else what is defined in it."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return list(listed)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def members(name: str, cls: type) -> list[Public]:
    """Return the public methods and properties that our own classes bring to a class."""
    found = {}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith("birdembed"):
            continue
        for key, value in vars(base).items():
            if key.startswith("_") and key not in PROTOCOL:
                continue
            if isinstance(value, (classmethod, staticmethod)):
                value = value.__func__
            if inspect.isfunction(value) or isinstance(value, property):
                # One that overrides another is described where it comes from.
                found.setdefault(key, Public(f"{name}.{key}", value))
    return list(found.values())


def parameters(value: Any) -> list[inspect.Parameter]:
    """Return the parameters of something public; none of what is not called."""
    try:
        return list(inspect.signature(value).parameters.values()) if callable(value) else []
    except ValueError:  # the errors of the core, which are of C
        return []


def public_names() -> list[Public]:
    """Return all of them: functions, classes, their methods and properties."""
    found = []
    for module in modules()[0]:
        for name in names_of(module):
            value = getattr(module, name)
            if isinstance(value, str):  # a version, a name
                continue
            full = f"{module.__name__}.{name}"
            found.append(Public(full, value))
            if isinstance(value, type):
                found += members(full, value)
    return found
