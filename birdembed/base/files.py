"""Atomic file writes, file locks, digests and the cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # not POSIX: one writer at a time is then the user's business
    fcntl = None  # type: ignore[assignment]


def cache_dir() -> Path:
    """Return the cache folder: BIRDEMBED_CACHE, else birdembed below XDG_CACHE_HOME or ~/.cache.

    The folder is not created.
    """
    given = os.environ.get("BIRDEMBED_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "birdembed"


def _temporary_beside(path: Path) -> Path:
    # In the same folder, because only there is a rename one step.
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file atomically: yield a temporary name that replaces `path` on success.

    Nothing has that name yet, but a folder that cannot be written has already been told. On any
    error the temporary file is removed and `path` stays as it was. An `OSError` about the
    temporary name is raised again with the name that was asked for.
    """
    target = Path(path)
    temporary = _temporary_beside(target)
    try:
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode & 0o777  # what the umask leaves
        temporary.unlink()
        yield temporary
        # Writers with a temporary file of their own (safetensors) leave it readable by one user.
        temporary.chmod(mode)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())  # the content is on the disk before the name is
        os.replace(temporary, target)
    except OSError as error:
        raise with_path(error, target) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def replacing_dir(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a folder atomically: yield a temporary folder that becomes `path` on success.

    Where another process made `path` meanwhile, its folder stands and ours is dropped: both are
    copies of the same thing.
    """
    target = Path(path)
    temporary = _temporary_beside(target)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        try:
            os.rename(temporary, target)
        except OSError:
            if not target.is_dir():
                raise
    except OSError as error:
        raise with_path(error, target) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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


def lock(fd: int, *, wait: bool) -> None:
    """Lock an open file or folder for this process alone, until the descriptor is closed.

    Some network file systems, and systems that are not POSIX, have no locks: nothing happens there.

    Raises
    ------
    BlockingIOError
        Another one has the lock, and `wait` is false.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise
    except OSError:
        pass
