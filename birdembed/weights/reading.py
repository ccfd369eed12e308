"""Read a weights file of any supported format."""

from __future__ import annotations

import os

from birdembed._core import WeightsError
from birdembed.base.files import regular
from birdembed.base.text import shortened
from birdembed.weights.tensors import StoredTensor


def read_weights(path: str | os.PathLike[str]) -> dict[str, StoredTensor]:
    """Read all tensors of a safetensors or `.pth` file, with the names used in the file.

    Raises
    ------
    WeightsError
        The file is missing, has an unknown format, is truncated or damaged, or is a pickle that
        contains more than tensors.
    """
    try:
        with open(path, "rb", opener=regular) as file:
            head = file.read(64)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise WeightsError(
            f"{shortened(os.fsdecode(path), 4096)}: cannot be read: {reason}"
        ) from error
    try:
        return _read(path, head)
    except OSError as error:
        what = error.strerror or error
        raise WeightsError(f"{os.fspath(path)}: cannot be read: {what}") from error


def _read(path: str | os.PathLike[str], head: bytes) -> dict[str, StoredTensor]:
    """Read the tensors of a file that starts with `head`."""
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{os.fspath(path)}: this is a Git LFS pointer, not the weights; run `git lfs pull`"
        )
    # safetensors: 8 bytes of header length, which may start with any byte, then JSON.
    if head[8:9] != b"{" and head.startswith((b"PK\x03\x04", b"\x80")):
        from birdembed.weights.torch_file import read_pth

        return read_pth(path)
    from birdembed.weights.safetensors_file import read_safetensors

    return read_safetensors(path)
