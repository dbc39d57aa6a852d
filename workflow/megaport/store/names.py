"""Names that point at content: symlinks for intermediates, real files for what people hand on."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from megaport.store.content import Content
from megaport.store.disk import left_over, replacing
from megaport.store.store import Store

FICLONE = 0x40049409  # ioctl_ficlone(2): share extents, copy on write (btrfs, XFS, bcachefs)


def _symlink(blob: Path, name: Path) -> None:
    name.symlink_to(_link_target(blob, name))


def _link_target(blob: Path, name: Path) -> str:
    """Relative where store and name share the working directory, so that a checkout can move."""
    here, folder = Path.cwd(), name.absolute().parent.resolve()  # results/ may be a link itself
    if blob.is_relative_to(here) and folder.is_relative_to(here):
        return os.path.relpath(blob, folder)
    return str(blob)


def _reflink_or_copy(blob: Path, name: Path) -> None:
    try:
        with blob.open("rb") as source, name.open("wb") as target:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
    except OSError:
        shutil.copyfile(blob, name)


WAYS: dict[str, Callable[[Path, Path], object]] = {
    "auto": _reflink_or_copy,
    "copy": shutil.copyfile,
    "hardlink": lambda blob, name: name.hardlink_to(blob),
    "symlink": _symlink,
}


def publish(store: Store, content: Content, name: Path, way: str = "symlink") -> None:
    """Make `name` show `content`, atomically. Real files get the umask's mode, links the blob's."""
    blob = store.path_of(content)
    if _already_right(store, content, blob, name, way):
        return
    with replacing(name) as temporary:
        WAYS[way](blob, temporary)


def _already_right(store: Store, content: Content, blob: Path, name: Path, way: str) -> bool:
    if way == "symlink":
        return name.is_symlink() and name.readlink() == Path(_link_target(blob, name))
    return not name.is_symlink() and store.stats.shows(content, name)


def sweep(names: set[Path]) -> None:
    """Remove what a killed run left beside names that nobody else writes now."""
    for folder in {path.parent for path in names}:
        for path in left_over(folder):
            if path.with_name(path.name[1:].rsplit(".", 3)[0]) in names:
                path.unlink(missing_ok=True)


def remove(files: Iterable[Path]) -> None:
    for file in files:
        if os.path.lexists(file):  # a read-only disk refuses to remove even what is not there
            file.unlink(missing_ok=True)


def clear(folder: Path, patterns: Iterable[str], wanted: set[Path]) -> None:
    """Remove the files below `folder` that match a pattern and are not wanted: tools would open
    what lies there. Folders left empty go as well."""
    for pattern in patterns:
        for path in sorted(folder.glob(pattern), reverse=True):  # a folder after its files
            if path.is_dir() and not path.is_symlink():
                with suppress(OSError):  # not empty
                    path.rmdir()
            elif path not in wanted:
                path.unlink(missing_ok=True)
