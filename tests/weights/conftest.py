"""The core's parameter table, until the core has it."""

from birdembed import _core

from .networks import parameter_table

if not hasattr(_core, "parameter_table"):
    _core.parameter_table = parameter_table
