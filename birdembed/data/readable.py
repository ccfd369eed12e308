"""Leave out images that cannot be read, before work that needs all of them."""

from __future__ import annotations

from typing import TypeVar

from birdembed.data.folder import ImageFolder
from birdembed.images.report import Failure
from birdembed.images.verify import verify

Images = TypeVar("Images", ImageFolder, list[str])


def readable(images: Images) -> tuple[Images, list[Failure]]:
    """Return the images that can be read, and the failures of the others.

    A dataset keeps all its class names.
    """
    failures = verify(images).failures
    bad = {failure.position for failure in failures}
    rows = [row for row in range(len(images)) if row not in bad]
    if isinstance(images, ImageFolder):
        return images[rows], failures
    return [images[row] for row in rows], failures
