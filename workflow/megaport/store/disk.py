"""Files on a disk that others use too: there wholly or not at all, and locks that are advice.

Whole by a sibling temporary, fsync and rename. Locks save double work, correctness never depends on
them.
"""

import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

# A folder with both is a group's: what is made in it belongs to the group and is the group's too.
TEMPORARY = re.compile(r"\..+\.\d+\.[0-9a-f]{8}\.tmp")
SHARED = stat.S_ISGID | stat.S_IWGRP
# File systems without locks answer with one of these (NFS without lockd, some FUSE; EBADF: NFS, of
# a file open for reading only).
UNSUPPORTED = frozenset(
    {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EROFS, errno.EBADF}
)


def make_folder(path: Path) -> None:
    """Make `path` and what is missing above it; in a group's folder, for the group to write to.

    The group's rights do not wait for a second call after mkdir: a crash in between would lock the
    others out. Raises OSError.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    if path.parent.stat().st_mode & SHARED != SHARED:
        path.mkdir(exist_ok=True)
        return
    new = temporary_sibling(path)
    new.mkdir()
    new.chmod(stat.S_IMODE(new.stat().st_mode) | SHARED | stat.S_IRGRP | stat.S_IXGRP)
    try:
        new.rename(path)
    except OSError:  # somebody else made it meanwhile, and put something in it
        with suppress(OSError):
            new.rmdir()
        if not path.is_dir():
            raise


def sync(path: Path) -> None:
    """Make a file's bytes durable, or the renames inside a folder (fsync(2)). Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def temporary_sibling(path: Path) -> Path:
    """A name beside `path` that no other process uses; hidden, so that globs pass over it."""
    return path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")


def left_over(folder: Path) -> list[Path]:
    """Temporary siblings in `folder`: of a writer at work, or of one that was killed."""
    return [path for path in folder.glob(".*.tmp") if TEMPORARY.fullmatch(path.name)]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary sibling; on success it takes the place of `path`, else it is removed."""
    make_folder(path.parent)
    temporary = temporary_sibling(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_durably(path: Path, content: bytes, *, mode: int) -> None:
    """Write `content` so that a crash leaves the old file or the new one, never a part."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
        temporary.chmod(mode)
        sync(temporary)
    sync(path.parent)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` where the file system has locks, else go on without.

    The kernel drops the lock of a process that dies, so nothing is ever left locked.
    """
    make_folder(path.parent)
    with _open(path) as handle:
        try:
            if handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        yield


def _open(path: Path) -> IO[bytes] | AbstractContextManager[None]:
    """Another user's lock file may be read-only for this one, and still takes a lock.

    Whatever the umask, others may read it; nothing is locked where its maker died before that.
    """
    try:
        handle = path.open("ab")
    except PermissionError:
        with suppress(PermissionError):
            return path.open("rb")
        return nullcontext()
    with suppress(OSError):  # another user's, of a group that may write to it
        os.fchmod(handle.fileno(), stat.S_IMODE(os.fstat(handle.fileno()).st_mode) | 0o444)
    return handle


def is_held(path: Path) -> bool:
    """Whether some process holds the lock now (False where locks do not work).

    What this user may not look at counts as held.
    """
    try:
        with path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    except (BlockingIOError, PermissionError):
        return True
    except OSError:
        return False
