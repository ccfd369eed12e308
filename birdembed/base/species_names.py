"""Common and scientific names of species, by the label that a model knows them under."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from birdembed.base.text import shown

#: A label's common name and its scientific name, the latter "" where it is not known.
SpeciesNames = dict[str, tuple[str, str]]


def checked_species_names(names: Any) -> SpeciesNames:
    """Return names given as {label: (common name, scientific name)}, or as {label: common name}.

    Raises
    ------
    TypeError
        They are no mapping, or a value is neither a text nor two texts.
    ValueError
        A common name is empty.
    """
    if names is None:
        return {}
    if not isinstance(names, Mapping):
        raise TypeError(f"species_names must be a dict or None, got {type(names).__name__}")
    return {str(label): _pair(label, value) for label, value in names.items()}


def _pair(label: Any, value: Any) -> tuple[str, str]:
    """Return a common and a scientific name, or raise an error that names the label."""
    pair = (value, "") if isinstance(value, str) else tuple(value) if _listed(value) else ()
    if len(pair) != 2 or not all(isinstance(name, str) for name in pair):
        raise TypeError(
            f"species_names[{shown(label)}] must be a common name, or (common name, "
            f"scientific name), got {shown(value)}"
        )
    if not pair[0]:
        raise ValueError(f"species_names[{shown(label)}] has no common name")
    return pair


def _listed(value: Any) -> bool:
    return isinstance(value, (tuple, list))


def full_name(label: str, names: Mapping[str, tuple[str, str]]) -> str:
    """Return ``Bald Eagle (Haliaeetus leucocephalus)`` for a label, or the label without names."""
    common, scientific = names.get(label, (label, ""))
    return f"{common} ({scientific})" if scientific else common
