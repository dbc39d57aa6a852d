"""Snakemake's own lock on a working directory, which outlives a Snakemake that was killed.

Snakemake marks what a run makes with files under .snakemake/locks, and after kill -9 or a power cut
asks for --unlock. Every run therefore holds a lock of the kernel's as well, which dies with it: a
run that is alone in the directory knows that the marks it finds are left over, and removes them.
"""

import fcntl
from contextlib import suppress
from pathlib import Path
from typing import IO

_held: list[IO[bytes]] = []  # for the life of the process


def enter(folder: Path) -> list[Path]:
    """Be present in the working directory `folder`; the left-over marks that were removed.

    Where locks do not work nothing is removed, and Snakemake's advice holds.
    """
    state = folder / ".snakemake"
    with suppress(OSError):
        state.mkdir(exist_ok=True)
        handle = (state / "present").open("ab")
        _held.append(handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return []
        left_over = sorted((state / "locks").glob("*.lock"))
        for mark in left_over:
            mark.unlink(missing_ok=True)
        fcntl.flock(handle, fcntl.LOCK_SH)
        return left_over
    return []
