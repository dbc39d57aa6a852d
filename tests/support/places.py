"""What a machine may lack: disks of one's own to fill, another user to become, a browser."""

import os
import shutil
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from support.checkout import ROOT

NOBODY = 65534
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = ROOT / "build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A tmpfs, a file system in memory, of `size` (as mount's option says it), gone afterwards."""
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


@cache
def can_be_another() -> bool:
    """Whether files may be given to another user here; in some containers root may not either."""
    try:
        with tempfile.NamedTemporaryFile() as file:
            os.chown(file.name, NOBODY, NOBODY)
    except OSError:
        return False
    return os.geteuid() == 0


def as_nobody(function: Callable[[], object]) -> int:
    """Call `function` in a fork that has given up root; the exit status, 0 where it returned."""
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def can_judge_pages() -> bool:
    """Whether a browser and axe-core's rules of accessibility are installed."""
    return bool(CHROMIUM) and AXE.exists()


def lacking() -> Iterator[str]:
    """For a run's first lines: what is not here, and which tests are not collected for it."""
    if not can_mount():
        yield (
            "mounts: not possible here (root and CAP_SYS_ADMIN are needed); "
            "full and read-only disks are not collected"
        )
    if not can_be_another():
        yield (
            "users: this one cannot become another (root can); "
            "tests of a store that several users share are not collected"
        )
    if not can_judge_pages():
        yield (
            "browser: no chromium, or no build/axe (`make test-all` installs it with npm); "
            "tests/report/test_browser.py is not collected"
        )
