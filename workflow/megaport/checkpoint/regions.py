"""Bytes of a file, of an archive's member or of a part of either, mapped and never copied."""

import errno
import mmap
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from megaport.errors import MegaportError, shown_text

# CPython's mmap keeps a file descriptor open; a zarr checkpoint has thousands of tiny chunks.
READ_BELOW = 1 << 16
LONGEST_LINE = 4096


class UnreadableFileError(MegaportError):
    """A file that is missing, not a regular file, or that the system will not let us read."""


class OutOfBoundsError(MegaportError):
    """A part of a file that a checkpoint points at, and that is not there."""


@dataclass(frozen=True, repr=False)
class Region:
    """Read-only bytes `view` with the `name` that errors and reports call them by."""

    name: str
    view: memoryview

    @property
    def size(self) -> int:
        return len(self.view)

    def sub(self, offset: int, length: int, name: str | None = None) -> "Region":
        """The `length` bytes at `offset`; `OutOfBoundsError` unless all of them exist."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise OutOfBoundsError(
                self.name,
                seen=f"a part at byte {shown_text(offset)} of {shown_text(length)} bytes",
                expected=f"a part within its {self.size} bytes",
                remedy="The file is damaged or cut short: get it again.",
            )
        return Region(name or self.name, self.view[offset : offset + length])


class RegionReader:
    """A region as the binary file that zipfile, tarfile and pickletools read from.

    `read` gives no more than there is, whatever it is asked for, and `readline` gives nothing for
    a line over `LONGEST_LINE` bytes, so that no number in a file makes it allocate.
    """

    def __init__(self, region: Region, position: int = 0) -> None:
        self._name, self._view = region.name, region.view
        self._position = position

    def read(self, size: int = -1) -> bytes:
        start = self._position
        part = self._view[start : None if size < 0 else start + size].tobytes()
        self._position = start + len(part)
        return part

    def readline(self) -> bytes:
        line = bytes(self._view[self._position : self._position + LONGEST_LINE])
        line = line[: line.find(b"\n") + 1]
        self._position += len(line)
        return line

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = offset + (0, self._position, len(self._view))[whence]
        if position < 0:
            raise OSError(errno.EINVAL, "a place before the file")
        self._position = position
        return position


def map_file(path: Path, name: str | None = None) -> Region:
    """The bytes of a regular file, called `name` (default: the path).

    `UnreadableFileError` when it is missing, not a regular file or not readable. The cost does not
    depend on the size. The file must not shrink while the Region is in use.
    """
    called = str(path) if name is None else name
    try:
        # O_NONBLOCK: opening a named pipe must fail the test below, not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(called, error) from error
    except ValueError:
        raise _unreadable(called, OSError(errno.EINVAL, "a path with a NUL in it")) from None
    try:
        return Region(called, map_descriptor(descriptor, called))
    finally:
        os.close(descriptor)


def map_descriptor(descriptor: int, called: str) -> memoryview:
    """All bytes of the open regular file, read when few and mapped when many."""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableFileError(
                called,
                seen="something that is not a regular file",
                expected="a regular file",
                remedy="Point at the checkpoint file itself.",
            )
        if status.st_size <= READ_BELOW:
            return memoryview(os.pread(descriptor, status.st_size, 0))
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise _unreadable(called, error) from error


def _unreadable(called: str, error: OSError) -> UnreadableFileError:
    remedies = {
        errno.EMFILE: "Raise the limit of open files (`ulimit -n`) and run again.",
        errno.EACCES: "Allow this user to read it.",
    }
    return UnreadableFileError(
        called,
        seen=error.strerror or type(error).__name__,
        expected="a readable file",
        remedy=remedies.get(error.errno or 0, "Check the path and the disk."),
    )
