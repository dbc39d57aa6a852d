"""Sixteen processes on one store, with locks, with locks that do nothing, and without locks."""

import errno
import fcntl
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from megaport.store.job import run_job
from megaport.store.store import Store
from megaport.store.upkeep import verify
from support.stores import job_in

PROCESSES = 16


def without_locks(handle, operation):
    raise OSError(errno.ENOLCK, "no locks here")


LOCKS = {"flock": fcntl.flock, "pretended": lambda handle, operation: None, "none": without_locks}


def one_process(folder: Path, number: int, kinds: int, locks: str) -> None:
    """One process: a step whose key is shared with every `kinds`-th other process."""
    fcntl.flock = LOCKS[locks]
    own, kind = folder / str(number), number % kinds
    own.mkdir()

    def compute(work):
        (folder / "bodies" / f"{kind}-{os.getpid()}").touch()
        time.sleep(0.05)
        (work.out / "out").write_text(f"result {kind}\n" * 1000)

    run_job(job_in(own, Store(folder / "store"), {"kind": kind}), compute)


@pytest.mark.parametrize("locks", LOCKS)
@pytest.mark.parametrize("kinds", [1, 5])
def test_sixteen_runs_on_the_same_store_and_key(tmp_path, locks, kinds):
    (tmp_path / "bodies").mkdir()
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=one_process, args=(tmp_path, number, kinds, locks))
        for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    store = Store(tmp_path / "store")
    assert verify(store).clean
    assert len(list(store.blobs)) == kinds
    bodies = len(list((tmp_path / "bodies").iterdir()))
    assert bodies == kinds if locks == "flock" else kinds <= bodies <= PROCESSES
    for number in range(PROCESSES):
        text = (tmp_path / str(number) / "results/m/out").read_text()
        assert text == f"result {number % kinds}\n" * 1000
    assert list((store.root / "tmp").iterdir()) == []
