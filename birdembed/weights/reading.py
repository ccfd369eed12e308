"""Read a weights file of any supported format."""

from __future__ import annotations

import os

from birdembed._core import WeightsError
from birdembed.weights.tensors import StoredTensor


def read_weights(path: str | os.PathLike[str]) -> dict[str, StoredTensor]:
    """Read every tensor of a safetensors or `.pth` file, under the names the file gives them.

    Raises
    ------
    WeightsError
        The file is missing, of no known format, truncated, damaged, or a pickle that asks for
        more than tensors.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(64)
    except OSError as error:
        raise WeightsError(f"{os.fspath(path)}: cannot be read: {error.strerror}") from error
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{os.fspath(path)}: is a Git LFS pointer, not the weights: run `git lfs pull`"
        )
    # safetensors: 8 bytes of header length, which may begin with any byte, then the JSON.
    if head[8:9] != b"{" and head.startswith((b"PK\x03\x04", b"\x80")):
        from birdembed.weights.torch_file import read_pth

        return read_pth(path)
    from birdembed.weights.safetensors_file import read_safetensors

    return read_safetensors(path)
