"""Small file systems in memory, for disks that are full or read-only; only root can mount them."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WHY_NOT = (
    "mounts: not possible here (root and CAP_SYS_ADMIN are needed); "
    "full and read-only disks are not collected"
)


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A tmpfs of `size` (as mount's option says it), gone afterwards."""
    folder = Path(tempfile.mkdtemp())
    _mount("-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@contextmanager
def bound(source: Path, target: Path) -> Iterator[None]:
    """The folder `source` seen at `target` as well."""
    _mount("--bind", str(source), str(target))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=True)


def make_read_only(disk: Path) -> None:
    _mount("-o", "remount,ro", str(disk))


def make_writable(disk: Path) -> None:
    _mount("-o", "remount,rw", str(disk))


def can_mount() -> bool:
    if os.geteuid() != 0 or not shutil.which("mount"):
        return False
    try:
        with small_disk("16k"):
            return True
    except subprocess.CalledProcessError:
        return False


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, stderr=subprocess.DEVNULL)
