"""Advisory locks: they save double work, correctness never depends on them."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

from megaport.store.atomic import make_folder

# File systems without locks answer with one of these (NFS without lockd, some FUSE; EBADF: NFS, of
# a file open for reading only).
UNSUPPORTED = frozenset(
    {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EROFS, errno.EBADF}
)


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
