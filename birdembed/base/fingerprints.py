"""Keep vectors of different models apart."""

from __future__ import annotations

from birdembed._core import FingerprintMismatch


def check_same_model(
    what: str, given: str | None, other: str, held: str | None, advice: str
) -> None:
    """Check that two sets of vectors come of one model, where both fingerprints are known.

    Parameters
    ----------
    what, other : str
        What has the one fingerprint and what has the other, for the message.
    given, held : str or None
        The fingerprints.
    advice : str
        What to do about it.

    Raises
    ------
    FingerprintMismatch
        They differ.
    """
    if given is not None and held is not None and given != held:
        raise FingerprintMismatch(
            f"{what} has the fingerprint {given[:12]}, {other} {held[:12]}: vectors of "
            f"different models cannot be compared; {advice}"
        )
