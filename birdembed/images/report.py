"""Report which images were encoded and which failed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import NamedTuple

from birdembed.base.public import public


@public
@dataclass
class EncodeReport:
    """Report on the images of a call.

    Attributes
    ----------
    kept : list of int
        Position in the input of each row of the result.
    names : list of str
        Name of each row: its path, or a name with its position.
    failures : list of (int, str, str)
        Position, name and reason for each image that could not be read. For a folder that could
        not be read: -1, its path and the reason.
    decoders : list of str
        The decoder used for each row.
    """

    kept: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    failures: list[tuple[int, str, str]] = field(default_factory=list)
    decoders: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        """Return the number of images read and failed, and the first failure."""
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
        Position in the input, from 0; -1 for a folder that cannot be read.
    name : str
        Path, or a name with its position.
    reason : str
        Reason for the failure.
    """

    position: int
    name: str
    reason: str


def described(failure: tuple[int, str, str]) -> str:
    """Return the reason of a failure, preceded by the name of the image if it is not in there."""
    _, name, reason = failure
    named = reason.startswith(name) or repr(name) in reason  # an OSError quotes the path
    return reason if named else f"{name}: {reason}"


def warn_of_skipped(report: EncodeReport) -> None:
    """Issue one warning for all skipped images, located at the call of `Model.encode`."""
    _, name, reason = report.failures[0]
    warnings.warn(
        f"{len(report.failures)} images could not be read and have no row; the first: {name}: "
        f"{reason}. Use return_report=True to see which rows remain",
        UserWarning,
        stacklevel=3,
    )
