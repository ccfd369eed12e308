"""Common and scientific names of species, by label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from birdembed.base.text import composed, shown

#: For each label the common and the scientific name; the latter is "" if unknown.
SpeciesNames = dict[str, tuple[str, str]]


def checked_species_names(names: Any) -> SpeciesNames:
    """Check names given as {label: (common name, scientific name)} or {label: common name}.

    Raises
    ------
    TypeError
        `names` is not a mapping, or a value is neither a string nor two strings.
    ValueError
        A common name is empty, or a label (in both Unicode forms of its accents) has two names.
    """
    if names is None:
        return {}
    if not isinstance(names, Mapping):
        raise TypeError(f"species_names must be a dict or None, got {type(names).__name__}")
    checked: SpeciesNames = {}
    for label, value in names.items():
        pair = _pair(label, value)
        if checked.setdefault(composed(str(label)), pair) != pair:
            raise ValueError(f"species_names has two names for {shown(composed(str(label)))}")
    return checked


def _pair(label: Any, value: Any) -> tuple[str, str]:
    """Return a common and a scientific name; errors name the label."""
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
    """Return a name such as ``Bald Eagle (Haliaeetus leucocephalus)``, or the label itself."""
    common, scientific = names.get(composed(label), (label, ""))
    return f"{common} ({scientific})" if scientific else common
