"""Snakemake's own lock on a working directory, which outlives a Snakemake that was killed.

Snakemake marks what a run makes with files under .snakemake/locks, and after kill -9 or a power cut
asks for --unlock. Every run therefore holds a lock of the kernel's as well, which dies with it: a
run that is alone in the directory knows that the marks it finds are left over, and removes them.
A lock may not reach another host (NFS without lockd), so every run also writes down where it runs,
and in a directory that another host has ever worked in the marks stay.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO

BOOT = Path("/proc/sys/kernel/random/boot_id")

_held: list[IO[bytes]] = []  # for the life of the process


def enter(folder: Path) -> list[Path]:
    """Be present in the working directory `folder`; the left-over marks that were removed.

    Where locks do not work nothing is removed, and Snakemake's advice holds.
    """
    state = folder / ".snakemake"
    left_over: list[Path] = []
    with suppress(OSError):
        state.mkdir(exist_ok=True)
        handle = (state / "present").open("a+b")
        _held.append(handle)
        handle.seek(0)
        here, places = _here(), handle.read().splitlines()
        if _is_alone(handle) and _is_one_host(here, places):
            left_over = sorted((state / "locks").glob("*.lock"))
        for mark in left_over:
            mark.unlink(missing_ok=True)
        fcntl.flock(handle, fcntl.LOCK_SH)
        if here not in places:
            handle.write(here + b"\n")
            handle.flush()
            os.fsync(handle.fileno())  # other hosts see it before this run marks anything
    return left_over


def _is_alone(handle: IO[bytes]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _here() -> bytes:
    """The host's name and its kernel's run: containers share the second, reboots keep the first."""
    boot = BOOT.read_text(encoding="ascii").strip() if BOOT.exists() else "-"
    return f"{os.uname().nodename} {boot}".encode()


def _is_one_host(here: bytes, places: list[bytes]) -> bool:
    """Whether runs were here before, and each of them on this host."""
    mine = set(here.split()) - {b"-"}
    return bool(places) and all(mine & set(place.split()) for place in places)
