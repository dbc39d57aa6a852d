"""Files that are there wholly or not at all: sibling temporary, fsync, rename."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sync_directory(folder: Path) -> None:
    """Make renames inside `folder` durable (fsync of the directory, see fsync(2))."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def temporary_sibling(path: Path) -> Path:
    """A name beside `path` that no other process uses; hidden, so that globs pass over it."""
    return path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary sibling; on success it takes the place of `path`, else it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_durably(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write `content` so that a crash leaves the old file or the new one, never a part."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
        temporary.chmod(mode)
        sync_file(temporary)
    sync_directory(path.parent)
