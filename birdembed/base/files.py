"""Atomic writes, file locks, digests and the cache folder.

An unfinished file is in a folder with a random name next to the target, which its writer keeps
locked. The next write removes such folders that are not locked: they were left by killed processes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from birdembed.base.text import shown

try:
    import fcntl
except ImportError:  # not POSIX: the user has to avoid concurrent writers
    fcntl = None  # type: ignore[assignment]


_ENDING = ".birdembed.tmp"
_LONGEST_PATH = 4096  # PATH_MAX of Linux
_NAME_BYTES = 80  # of the name of a target in a temporary name; systems limit a name's length
#: Names of the folders of unfinished files; no other name is ever swept.
_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{16}\.birdembed\.tmp", re.DOTALL)


def cache_dir() -> Path:
    """Return the cache folder: BIRDEMBED_CACHE, else birdembed below XDG_CACHE_HOME or ~/.cache.

    The folder is not created.

    Raises
    ------
    FileNotFoundError
        This user has no home folder.
    """
    given = os.environ.get("BIRDEMBED_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "birdembed"
    except RuntimeError as error:
        raise FileNotFoundError(
            "this user has no home folder; set BIRDEMBED_CACHE to a writable folder"
        ) from error


def path_text(path: str | os.PathLike[str]) -> str:
    """Return a path as a string, also for bytes.

    Raises
    ------
    OSError, ValueError
        It is empty, which `Path` would take for the current folder; or it is too long, such as an
        image in base64, or has an impossible character: the message shows its beginning.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"expected a path, got {type(path).__name__} ({shown(path)})")
    text = os.fsdecode(path)
    if not text:
        raise ValueError("expected a path, got an empty one; the current folder is '.'")
    if len(text) > _LONGEST_PATH:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), shown(text))
    wrong = why_impossible(text)
    if wrong:
        raise ValueError(f"{shown(text)}: {wrong}")
    return text


def why_impossible(path: str) -> str:
    """Return why no file can have a path with these characters; "" if one can."""
    if "\0" in path:
        return "a path cannot hold a NUL character"
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        return f"a path cannot hold the character {path[error.start]!a}"
    return ""


def file_text(path: str | os.PathLike[str]) -> str:
    """Return the path of a file as a string; raise an `IsADirectoryError` for that of a folder.

    `Path` ignores a separator at the end, so the file would have another name than the given one.
    """
    text = path_text(path)
    if os.path.basename(text) in ("", ".", ".."):
        what = "expected a file, got the name of a folder; leave out the / at the end"
        raise IsADirectoryError(errno.EISDIR, what, text)
    return text


def with_path(error: OSError, path: str | os.PathLike[str]) -> OSError:
    """Return an error of the same type with `path` in its message."""
    if error.errno is None:
        return OSError(f"{os.fspath(path)}: {error}")
    return OSError(error.errno, error.strerror, os.fspath(path))


def regular(path: str, flags: int) -> int:
    """Open a regular file, as the argument `opener` of `open`.

    A pipe would wait for its writer, and a device may never end.

    Raises
    ------
    OSError
        It is a folder, a pipe or a device.
    """
    fd = os.open(path, flags | os.O_NONBLOCK)
    kind = os.fstat(fd).st_mode
    if not stat.S_ISREG(kind):
        os.close(fd)
        code = errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL
        what = os.strerror(code) if stat.S_ISDIR(kind) else "expected a file, got a pipe or device"
        raise OSError(code, what, path)
    return fd


def text_of_file(path: str | os.PathLike[str], errors: str = "strict") -> str:
    """Return the content of a regular file as text in UTF-8."""
    with open(path, encoding="utf-8", errors=errors, opener=regular) as file:
        return file.read()


def file_state(status: os.stat_result) -> tuple[int, int, int]:
    """Return what changes if a file is written to or replaced: size, time and inode."""
    return status.st_size, status.st_mtime_ns, status.st_ino


class KeptFile:
    """A file to read later, with the content it has now, even if it is replaced or moved.

    A file that cannot be opened raises its error when it is read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(path)  # also after a change of the current folder
        self._fd: int | None = None
        with contextlib.suppress(OSError):
            self._fd = regular(self.path, os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, self._fd).atexit = False

    def __fspath__(self) -> str:
        """Return the path that the file had."""
        return self.path

    def open(self) -> BinaryIO:
        """Open the file at its beginning, for one reader at a time."""
        if self._fd is None:
            return open(self.path, "rb", opener=regular)
        file = os.fdopen(os.dup(self._fd), "rb")
        file.seek(0)
        return file


def sha256_of_file(path: str | os.PathLike[str]) -> bytes:
    """Return the SHA-256 of the content of a file."""
    import hashlib  # OpenSSL, which a first embedding does not need

    digest = hashlib.sha256()
    with open(path, "rb", opener=regular) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


def lock(fd: int, *, wait: bool) -> bool:
    """Lock an open file or folder exclusively until the descriptor is closed.

    Some network file systems and non-POSIX systems do not support locks; the function then does
    nothing and returns False.

    Raises
    ------
    BlockingIOError
        Another process holds the lock, and `wait` is false.
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
def locked_folder(folder: str | os.PathLike[str]) -> Iterator[int]:
    """Hold the lock of a folder while the block runs, and yield its descriptor; see `lock`."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        lock(fd, wait=True)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def made_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Create a folder and its parents, and yield its path.

    If the block fails, those that were created and are still empty are removed again.
    """
    path = Path(path_text(folder))
    missing = [place for place in (path, *path.parents) if not place.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield path
    except BaseException:
        for place in missing:
            with contextlib.suppress(OSError):
                place.rmdir()
        raise


def check_creatable(folder: str | os.PathLike[str]) -> None:
    """Raise an `OSError` unless a folder is writable, or could be created; nothing is created."""
    path = Path(os.path.abspath(path_text(folder)))
    there = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "expected a folder, got a file", str(there))
    if not os.access(there, os.W_OK):
        raise PermissionError(errno.EACCES, "this folder is not writable", str(there))


@contextlib.contextmanager
def staging(folder: str | os.PathLike[str], name: str) -> Iterator[Path]:
    """Yield a new folder in `folder` for this process; it is removed at the end if it still exists.

    Folders left by killed processes are removed first.
    """
    sweep(folder)
    fd, path = _taken(Path(folder), name)
    try:
        yield path
    finally:
        _remove_folder(path)
        os.close(fd)


def _remove_folder(path: str | os.PathLike[str]) -> None:
    """Remove a folder and all in it, as far as possible."""
    import shutil  # it imports compression libraries, which a first embedding does not need

    shutil.rmtree(path, ignore_errors=True)


def _taken(folder: Path, name: str) -> tuple[int, Path]:
    """Return a new, locked folder and the descriptor of the lock."""
    start = os.fsencode(name)[:_NAME_BYTES].decode("utf-8", "ignore")
    while True:
        path = folder / f".{start}.{os.urandom(8).hex()}{_ENDING}"
        path.mkdir(mode=0o700)
        # Before it is locked, a sweep of another writer may remove it as abandoned.
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            lock(fd, wait=False)
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd, path
        os.close(fd)


def is_unfinished(name: str) -> bool:
    """Return whether a file name is that of a folder from `staging`."""
    return _UNFINISHED.fullmatch(name) is not None


def sweep(folder: str | os.PathLike[str]) -> None:
    """Remove what killed writers left in a folder, but nothing of running ones or of others."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if is_unfinished(entry.name)]
    except OSError:
        return  # the write reports the error
    for name in names:
        _remove_abandoned(os.path.join(folder, name))


def _remove_abandoned(path: str) -> None:
    """Remove a folder unless its writer, which holds the lock, is still running."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY)
        try:
            if lock(fd, wait=False):
                _remove_folder(path)
        finally:
            os.close(fd)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file atomically: yield a temporary name that replaces `path` on success.

    The temporary file does not exist yet, but an unwritable folder raises an error at once. On any
    error the temporary file is removed and `path` does not change. A replaced file keeps its mode
    and, if permitted, its owner. For a link, the file it points to is replaced. An `OSError` about
    the temporary name or a folder above it is raised with `path` instead.
    """
    target = Path(os.path.realpath(file_text(path)))  # a link keeps pointing to the file
    if target.exists() and not target.is_file():  # /dev/null, or a folder
        code = errno.EISDIR if target.is_dir() else errno.EINVAL
        raise OSError(code, "only a regular file can be replaced", str(path))
    try:
        with staging(target.parent, target.name) as folder:
            temporary = folder / "new"
            temporary.touch(exist_ok=False)
            mode = temporary.stat().st_mode & 0o777  # the default mode, from the umask
            temporary.unlink()
            yield temporary
            # Libraries that create the file themselves (safetensors) make it readable by one user.
            temporary.chmod(mode)
            keep_owner(temporary, target)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())  # the content must be on disk before the name
            os.replace(temporary, target)
    except OSError as error:
        if _about_other_file(error, target):
            raise
        raise with_path(error, path_text(path)) from error


def _about_other_file(error: OSError, target: Path) -> bool:
    """Return whether an error names a file that is read to write `target`."""
    name = error.filename
    if not isinstance(name, (str, bytes, os.PathLike)) or _ENDING in os.fsdecode(name):
        return False
    return Path(os.fsdecode(name)) not in (target, *target.parents)


def keep_owner(new: Path, old: Path) -> None:
    """Give a new file the mode and owner of the file it replaces, if there is one."""
    with contextlib.suppress(OSError):
        there, here = os.stat(old), os.stat(new)
        mode = there.st_mode & 0o777
        if (there.st_uid, there.st_gid) != (here.st_uid, here.st_gid):
            try:
                os.chown(new, there.st_uid, there.st_gid)
            except OSError:
                try:
                    os.chown(new, -1, there.st_gid)
                except OSError:  # the group permissions were not meant for the group of this user
                    mode &= 0o707 | (mode & 0o7) << 3
        new.chmod(mode)


@contextlib.contextmanager
def replacing_dir(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a folder atomically: yield a temporary folder that becomes `path` on success.

    If another process has created `path` in the meantime, its folder is kept and the new one is
    discarded, because both have the same content.
    """
    target = Path(path_text(path))
    try:
        with made_folder(target.parent) as parent, staging(parent, target.name) as temporary:
            yield temporary
            open_to_others(temporary)
            try:
                os.rename(temporary, target)
            except OSError:
                if not target.is_dir():
                    raise
    except OSError as error:
        if _about_other_file(error, target):
            raise
        raise with_path(error, target) from error


def open_to_others(folder: Path) -> None:
    """Give a folder from `staging` the default mode of a new folder."""
    probe = folder / os.urandom(8).hex()
    probe.mkdir()
    mode = probe.stat().st_mode & 0o777
    probe.rmdir()
    folder.chmod(mode)
