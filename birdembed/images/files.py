"""Find the image files below a folder."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from birdembed.base.files import path_text
from birdembed.base.text import composed

#: Endings of files in folders that count as images: those of `FORMATS` in pillow_open.py, without
#: icons (`.ico`), and without endings that other programs use (`.ras`, `.rgb`).
IMAGE_ENDINGS = frozenset(
    (
        ".jpg .jpeg .jpe .jfif .pjpeg .pjp .png .apng .bmp .dib .gif .webp .tif .tiff "
        ".heic .heics .heif .heifs .hif .avif .avifs .jp2 .j2k .j2c .jpc .jpf .jpx "
        ".ppm .pgm .pbm .pnm .tga .mpo .psd .qoi .pcx .sgi .dds"
    ).split()
)
#: Folders created by systems: thumbnails, recycle bins, snapshots, remains of unpacked archives.
_SYSTEM = frozenset(
    (
        *("@eadir", "#recycle", "#snapshot"),  # Synology
        *("@recycle", "@recently-snapshot"),  # QNAP
        *("$recycle.bin", "system volume information", "__macosx", "lost+found"),
    )
)


@dataclass
class Listing:
    """The images below a folder, and the folders that cannot be read.

    Attributes
    ----------
    root : str
        The folder.
    names : list of str
        Sorted POSIX paths of the images, relative to the folder.
    failures : list of (str, OSError)
        Path and error of each folder (itself or below it) that cannot be read.
    """

    root: str
    names: list[str] = field(default_factory=list)
    failures: list[tuple[str, OSError]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """The paths of the images, in the order of `names`."""
        return [os.path.join(self.root, name) for name in self.names]

    @property
    def folders(self) -> list[str | None]:
        """The first folder of each of `names`, None for images in the root itself."""
        return [name.split("/")[0] if "/" in name else None for name in self.names]

    @property
    def reasons(self) -> list[tuple[str, str]]:
        """Path and reason of each folder that cannot be read."""
        return [
            (path, f"this folder cannot be read: {(error.strerror or str(error)).lower()}")
            for path, error in self.failures
        ]

    def whole(self) -> Listing:
        """Return the listing if it is complete; otherwise raise the first `OSError`."""
        if self.failures:
            path, error = self.failures[0]
            raise OSError(error.errno, error.strerror, path) from error
        return self


def list_images(root: str | os.PathLike[str]) -> Listing:
    """List the images below a folder.

    Hidden files and folders, system folders (`@eaDir`, `#recycle`, `#snapshot`, `@Recycle`,
    `@Recently-Snapshot`, `$RECYCLE.BIN`, `__MACOSX`, `lost+found`), and files with other suffixes
    are ignored. Links to folders are followed. A folder that can be reached in several ways is
    listed once: at its own location if that is below the root, else under the first link, in the
    order of the link names. A link to nothing counts as a folder that cannot be read, unless it
    has the suffix of an image: its target may be on a disk that is not mounted.
    """
    walk = _Walk(os.fspath(root))
    walk.folder("")
    walk.follow_links()
    walk.found.names.sort()
    walk.found.failures.sort(key=lambda failure: failure[0])
    return walk.found


class _Walk:
    """Walks through the folders below a root, first without links, then following links."""

    def __init__(self, root: str) -> None:
        self.found = Listing(root)
        self._seen: set[tuple[int, int]] = set()
        self._links: list[str] = []

    def folder(self, name: str) -> None:
        """List a folder (path relative to the root) and its subfolders."""
        waiting = [name]
        while waiting:
            name = waiting.pop()
            path = os.path.join(self.found.root, name) if name else self.found.root
            try:
                if not name or not os.path.islink(path):
                    waiting += self._listed(name, path)
                else:
                    self._links.append(name)
            except OSError as error:
                self.found.failures.append((path, error))

    def _listed(self, name: str, path: str) -> list[str]:
        """Add the images of one folder; return its subfolders."""
        state = _state(path)
        if (state.st_dev, state.st_ino) in self._seen:
            return []
        self._seen.add((state.st_dev, state.st_ino))
        subfolders = []
        for entry in entries(path):
            below = f"{name}/{entry.name}" if name else entry.name
            image = _is_image(entry.name)
            try:
                if entry.is_dir():
                    subfolders.append(below)
                elif image:
                    self.found.names.append(below)
                elif entry.is_symlink():
                    _state(entry.path)  # raises an error if it links to nothing
            except OSError as error:  # a link to itself, or no permission
                if image:  # the error is reported when the file is read
                    self.found.names.append(below)
                else:
                    self.found.failures.append((entry.path, error))
        return subfolders

    def follow_links(self) -> None:
        """List the targets of links in the order of the link names, including links below them."""
        while self._links:
            links, self._links = sorted(self._links), []
            for name in links:
                path = os.path.join(self.found.root, name) if name else self.found.root
                try:
                    if _leads_back(path):
                        continue
                    for below in self._listed(name, path):
                        self.folder(below)
                except OSError as error:
                    self.found.failures.append((path, error))


def _is_image(name: str) -> bool:
    """Return whether a file name has the suffix of an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_ENDINGS


def _state(path: str) -> os.stat_result:
    """Return `os.stat` of a path; the error for a link to nothing says so."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        if not os.path.islink(path):
            raise
        raise FileNotFoundError(
            errno.ENOENT, "the target of this link does not exist", path
        ) from None


def _leads_back(link: str) -> bool:
    """Return whether a link points to a folder that contains it, such as one above the root."""
    place = os.path.join(os.path.realpath(os.path.dirname(link)), "")
    return place.startswith(os.path.join(os.path.realpath(link), ""))


def entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a folder, without hidden ones and system folders."""
    with os.scandir(folder) as found:
        for entry in found:
            if _is_shown(entry.name):
                yield entry


def _is_shown(name: str) -> bool:
    """Return whether a name is neither hidden nor that of a system folder."""
    return not name.startswith(".") and name.lower() not in _SYSTEM


def is_followed(root: str, name: str) -> bool:
    """Return whether `list_images` would go through the folders and links of a name below a root.

    It does not matter whether the file exists.
    """
    *folders, file = name.split("/")
    if not _is_image(file) or not all(part and _is_shown(part) for part in (*folders, file)):
        return False  # this also excludes "..", and paths that begin with "/"
    places = itertools.accumulate(folders, os.path.join, initial=root)
    return not any(
        os.path.islink(place) and _leads_back(place) for place in places if place != root
    )


def subfolders(root: str) -> dict[str, list[str]]:
    """Return the names of the subfolders of a folder by their composed (NFC) form, sorted.

    Names that differ only in the Unicode form of an accent are grouped. A link to nothing counts
    unless it has the suffix of an image; whoever lists it gets an error.
    """
    found: dict[str, list[str]] = {}
    for name in sorted(entry.name for entry in entries(root) if _may_be_folder(entry)):
        found.setdefault(composed(name), []).append(name)
    return dict(sorted(found.items()))


def _may_be_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to nothing that may have been one."""
    lost = entry.is_symlink() and not os.path.exists(entry.path) and not _is_image(entry.name)
    return entry.is_dir() or lost


def image_paths(root: str | os.PathLike[str]) -> list[str]:
    """Return the paths of the images below a folder; raise an OSError if it is incomplete."""
    return list_images(root).whole().paths


def check_folder(root: str | os.PathLike[str]) -> str:
    """Return the path of a folder as a string; raise an `OSError` if it is not a folder."""
    path = path_text(root)
    if not os.path.exists(path):
        raise FileNotFoundError(f"no such folder: {path}")
    if not os.path.isdir(path):
        raise NotADirectoryError(f"expected a folder, got a file: {path}")
    return path


def folder_of_images(folder: str | os.PathLike[str]) -> Listing:
    """Return the images below a folder; raise an error if there are none."""
    found = list_images(check_folder(folder))
    if not found.names:
        found.whole()
        raise ValueError(f"{found.root}: no images in this folder")
    return found
