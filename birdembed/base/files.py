"""Atomic writes, file locks, digests and the cache folder.

What is unfinished lies in a folder of a random name beside the target, which its writer holds
locked. The next write there removes those that nobody holds: what killed processes left.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # not POSIX: one writer at a time is then the user's business
    fcntl = None  # type: ignore[assignment]


_ENDING = ".birdembed.tmp"
#: Names with the number of a process in them, which no other process holds locked.
_NUMBERED = re.compile(r"\.save\.(\d+)\.tmp|\..+\.(\d+)\.[0-9a-f]{6,8}\.tmp")


def cache_dir() -> Path:
    """Return the cache folder: BIRDEMBED_CACHE, else birdembed below XDG_CACHE_HOME or ~/.cache.

    The folder is not created.
    """
    given = os.environ.get("BIRDEMBED_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "birdembed"


def with_path(error: OSError, path: str | os.PathLike[str]) -> OSError:
    """Return an error of the same kind that names `path`."""
    if error.errno is None:
        return OSError(f"{os.fspath(path)}: {error}")
    return OSError(error.errno, error.strerror, os.fspath(path))


def sha256_of_file(path: str | os.PathLike[str]) -> bytes:
    """Return the SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


def lock(fd: int, *, wait: bool) -> bool:
    """Lock an open file or folder for this process alone, until the descriptor is closed.

    Some network file systems, and systems that are not POSIX, have no locks: nothing happens
    there, and the answer is False.

    Raises
    ------
    BlockingIOError
        Another one has the lock, and `wait` is false.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise
        return False
    except OSError:
        return False
    return True


@contextlib.contextmanager
def staging(folder: str | os.PathLike[str], name: str) -> Iterator[Path]:
    """Yield a new folder within `folder`, for this process alone; removed if it is still there.

    What killed processes left in `folder` is removed first.
    """
    sweep(folder)
    fd, path = _taken(Path(folder), name)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(fd)


def _taken(folder: Path, name: str) -> tuple[int, Path]:
    """Return a new folder and the descriptor that holds it locked."""
    while True:
        path = folder / f".{name[:100]}.{secrets.token_hex(8)}{_ENDING}"
        path.mkdir(mode=0o700)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        # A sweep may come between the two and take it for what a killed process left.
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            lock(fd, wait=False)
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd, path
        os.close(fd)


def sweep(folder: str | os.PathLike[str]) -> None:
    """Remove what killed writers left in a folder; what a living one writes stays."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(".tmp")]
    except OSError:
        return  # writing tells
    for name in names:
        numbered = _NUMBERED.fullmatch(name)
        if name.startswith(".") and (name.endswith(_ENDING) or numbered):
            number = int(numbered[1] or numbered[2]) if numbered else 0
            if not _lives(number):
                _remove_abandoned(os.path.join(folder, name))


def _lives(number: int) -> bool:
    """Return whether another process of this number is there; 0 is none."""
    if number in (0, os.getpid()):
        return False
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


def _remove_abandoned(path: str) -> None:
    """Remove a file or folder unless somebody holds its lock."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if lock(fd, wait=False):
                if os.path.isdir(path):
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    os.unlink(path)
        finally:
            os.close(fd)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file atomically: yield a temporary name that replaces `path` on success.

    Nothing has that name yet, but a folder that cannot be written has already been told. On any
    error the temporary file is removed and `path` stays as it was. A file that is replaced keeps
    its mode and, where this user may give it away, its owner. An `OSError` about the temporary
    name is raised again with the name that was asked for.
    """
    target = Path(path)
    try:
        with staging(target.parent, target.name) as folder:
            temporary = folder / "new"
            temporary.touch(exist_ok=False)
            mode = temporary.stat().st_mode & 0o777  # what the umask leaves
            temporary.unlink()
            yield temporary
            # Writers with a file of their own (safetensors) leave it readable by one user.
            temporary.chmod(mode)
            keep_owner(temporary, target)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())  # the content is on the disk before the name is
            os.replace(temporary, target)
    except OSError as error:
        raise with_path(error, target) from error


def keep_owner(new: Path, old: Path) -> None:
    """Give a new file the mode and owner of the one it replaces, where there is one."""
    with contextlib.suppress(OSError):
        there, here = os.stat(old), os.stat(new)
        mode = there.st_mode & 0o777
        if (there.st_uid, there.st_gid) != (here.st_uid, here.st_gid):
            try:
                os.chown(new, there.st_uid, there.st_gid)
            except OSError:
                try:
                    os.chown(new, -1, there.st_gid)
                except OSError:  # what its group might do is not for this user's group
                    mode &= 0o707 | (mode & 0o7) << 3
        new.chmod(mode)


@contextlib.contextmanager
def replacing_dir(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a folder atomically: yield a temporary folder that becomes `path` on success.

    Where another process made `path` meanwhile, its folder stands and ours is dropped: both are
    copies of the same thing.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with staging(target.parent, target.name) as temporary:
            yield temporary
            open_to_others(temporary)
            try:
                os.rename(temporary, target)
            except OSError:
                if not target.is_dir():
                    raise
    except OSError as error:
        raise with_path(error, target) from error


def open_to_others(folder: Path) -> None:
    """Give a folder of `staging` the mode that a new one has."""
    probe = folder / secrets.token_hex(8)
    probe.mkdir()
    mode = probe.stat().st_mode & 0o777
    probe.rmdir()
    folder.chmod(mode)
