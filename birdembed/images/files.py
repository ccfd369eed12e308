"""Find the image files below a folder."""

from __future__ import annotations

import os

IMAGE_ENDINGS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .bmp .dib .gif .webp .tif .tiff .heic .heif .avif "
    ".ppm .pgm .pbm .pnm .jp2 .tga .mpo".split()
)


def list_images(root: str | os.PathLike[str]) -> list[str]:
    """Return the images below a folder as sorted POSIX paths relative to it.

    Hidden files and folders, and files with other endings, are left out. Links to folders are
    followed, but not those to a folder that they lie in.
    """
    found = []
    for folder, subfolders, files in os.walk(root, followlinks=True):
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith(".") and not _leads_back(os.path.join(folder, name))
        ]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_ENDINGS:
                found.append(os.path.relpath(os.path.join(folder, name), root))
    return sorted(path.replace(os.sep, "/") for path in found)


def image_paths(root: str | os.PathLike[str]) -> list[str]:
    """Return the paths of the images below a folder, in the order of `list_images`."""
    return [os.path.join(root, name) for name in list_images(root)]


def _leads_back(folder: str) -> bool:
    """Return whether a folder is a link to a folder that contains it."""
    if not os.path.islink(folder):
        return False
    place = os.path.join(os.path.realpath(os.path.dirname(folder)), "")
    return place.startswith(os.path.join(os.path.realpath(folder), ""))


def check_folder(root: str | os.PathLike[str]) -> str:
    """Return the folder's path as text; raise an `OSError` that names it if it is no folder."""
    path = os.fspath(root)
    if not isinstance(path, str):
        raise TypeError(f"root must be a path, got {type(root).__name__}")
    if not os.path.exists(path):
        raise FileNotFoundError(f"no such folder: {path}")
    if not os.path.isdir(path):
        raise NotADirectoryError(f"expected a folder, got a file: {path}")
    return path


def folder_of_images(folder: str | os.PathLike[str]) -> tuple[str, list[str]]:
    """Return a folder's path as text and its images; raise a `ValueError` if it has none."""
    root = check_folder(folder)
    found = list_images(root)
    if not found:
        raise ValueError(f"{root}: no images in it")
    return root, found
