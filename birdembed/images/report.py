"""Reports of which images were encoded and which failed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import NamedTuple

from birdembed.base.public import public


@public
@dataclass
class EncodeReport:
    """The outcome of each image of a call.

    Attributes
    ----------
    kept : list of int
        Position in the input of each row of the result.
    names : list of str
        Name of each row: its path, or what stands for one.
    failures : list of (int, str, str)
        Position, name and reason of each image that could not be read; of a folder that could not
        be read, -1, its path and the reason.
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


@public
class Failure(NamedTuple):
    """An image that could not be read.

    Attributes
    ----------
    position : int
        Where it stands in the input, from 0; -1 of a folder that cannot be read.
    name : str
        Its path, or what stands for one.
    reason : str
        What is wrong with it.
    """

    position: int
    name: str
    reason: str


def described(failure: tuple[int, str, str]) -> str:
    """Return the reason of a failure, with the image's name before it unless it names it."""
    _, name, reason = failure
    named = reason.startswith(name) or repr(name) in reason  # an OSError quotes the path
    return reason if named else f"{name}: {reason}"


def warn_of_skipped(report: EncodeReport) -> None:
    """Issue one warning for all skipped images, at the line that called `Model.encode`."""
    _, name, reason = report.failures[0]
    warnings.warn(
        f"{len(report.failures)} images could not be read and have no row; the first: {name}: "
        f"{reason}. return_report=True tells which rows remain",
        UserWarning,
        stacklevel=3,
    )
