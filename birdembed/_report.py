"""What became of each image of a call."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class EncodeReport:
    """What became of each image of a call.

    Attributes
    ----------
    kept : list of int
        Position in the input of each row of the result.
    names : list of str
        Name of each row: its path, or what stands for one.
    failures : list of (int, str, str)
        Position, name and reason of each image that could not be read.
    decoders : list of str
        Which decoder read each row.
    """

    kept: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    failures: list[tuple[int, str, str]] = field(default_factory=list)
    decoders: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        """Say how many images were read, and name the first failure."""
        text = f"EncodeReport({len(self.kept)} read, {len(self.failures)} failed"
        if self.failures:
            _, name, reason = self.failures[0]
            text += f"; first: {name}: {reason}"
        return text + ")"
