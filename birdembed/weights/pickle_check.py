"""Check a pickle before it is loaded."""

from __future__ import annotations

import os
import pickletools
from typing import Any

from birdembed._core import WeightsError

#: Maximum number of tuple elements per opcode, where elements of nested tuples count each time
#: they occur. A file that lists its values cannot exceed it.
_SHARE = 16


def check_pickle(file: Any) -> None:
    """Check the opcodes of a pickle for excessive memory or time.

    The memo table must not have more slots than there are opcodes, because the unpickler allocates
    as many slots as the file says. Tuples must not be nested by doubling, because their hash
    visits each element as often as it occurs.

    Parameters
    ----------
    file : binary file
        File at the start of the pickle. It is read to the end of the pickle.

    Raises
    ------
    WeightsError
        The pickle would take too much memory or time.
    ValueError
        The pickle is truncated, or the file is not a pickle.
    """
    stack: list[int | None] = []  # the weights of its items; None is a mark
    slots: dict[int, int] = {}
    value: Any
    within: Any = _Within(file)
    for count, (opcode, value, _) in enumerate(pickletools.genops(within), 1):
        name = opcode.name
        if "PUT" in name or name == "MEMOIZE":
            slot = len(slots) if name == "MEMOIZE" else int(value)
            if not 0 <= slot <= count:
                raise WeightsError(f"its pickle uses slot {slot} after {count} opcodes")
            slots[slot] = _top(stack)
        elif "GET" in name:
            stack.append(slots.get(int(value), 1))
        elif name == "DUP":
            stack.append(_top(stack))
        else:
            weight = _popped(stack, opcode)
            keeps = name.startswith("TUPLE") or name in ("FROZENSET", "REDUCE", "NEWOBJ")
            if keeps and weight > _SHARE * (count + 64):
                raise WeightsError("its pickle nests tuples by doubling")
            for what in opcode.stack_after:
                stack.append(None if what is pickletools.markobject else weight if keeps else 1)


class _Within:
    """A file that limits reads to its size, because memory is allocated for the requested size."""

    def __init__(self, file: Any) -> None:
        here = file.tell()
        self._file, self._end = file, file.seek(0, os.SEEK_END)
        file.seek(here)
        self.readline, self.tell = file.readline, file.tell

    def read(self, n: int) -> Any:
        """Return the next bytes, at most `n`."""
        return self._file.read(min(n, self._end - self._file.tell()))


def _top(stack: list[int | None]) -> int:
    """Return the weight on top of the stack."""
    return (stack[-1] if stack else None) or 1


def _popped(stack: list[int | None], opcode: Any) -> int:
    """Pop the arguments of an opcode from the stack; return 1 more than their total weight."""
    weight, before = 1, list(opcode.stack_before)
    to_mark = pickletools.markobject in before or (
        opcode.name == "POP" and bool(stack) and stack[-1] is None
    )
    if to_mark:
        while stack:
            one = stack.pop()
            if one is None:
                break
            weight += one
        before = before[: before.index(pickletools.markobject)] if opcode.name != "POP" else []
    for _ in before:
        weight += (stack.pop() if stack else None) or 0
    return weight
