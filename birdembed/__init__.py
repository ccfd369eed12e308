"""Image embeddings."""

from birdembed._core import BirdembedError, DecodeError
from birdembed._pixels import Preprocess, decode_image, preprocess, verify

__all__ = [
    "BirdembedError",
    "DecodeError",
    "Preprocess",
    "decode_image",
    "preprocess",
    "verify",
]
