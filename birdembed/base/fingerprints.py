"""Check that vectors come from the same model."""

from __future__ import annotations

from birdembed._core import FingerprintMismatch


def check_same_model(
    what: str, given: str | None, other: str, held: str | None, advice: str
) -> None:
    """Check that two sets of vectors come from one model, if both fingerprints are known.

    Parameters
    ----------
    what, other : str
        Names of the two things that are compared, for the message.
    given, held : str or None
        The fingerprints.
    advice : str
        How to fix it, for the message.

    Raises
    ------
    FingerprintMismatch
        The fingerprints differ.
    """
    if given is not None and held is not None and given != held:
        raise FingerprintMismatch(
            f"{what} has the fingerprint {given[:12]}, but {other} has {held[:12]}; vectors of "
            f"different models cannot be compared; {advice}"
        )
