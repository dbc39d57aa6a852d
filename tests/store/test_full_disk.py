"""Row "ENOSPC, EIO, read-only store, read-only results": clean error; retry works.

On real, small file systems; root, whom modes do not stop, is stopped by these.
"""

import errno

import pytest

from megaport.store.job import run_job
from megaport.store.store import Store, StoreError
from megaport.store.upkeep import verify
from support.places import make_read_only, make_writable, small_disk
from support.stores import compute, job_in, never, state

PAGE = 4096


@pytest.fixture
def disk():
    with small_disk("128k") as folder:
        yield folder


def fill(disk, pages_left: int):
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(PAGE))
        except OSError as error:
            assert error.errno == errno.ENOSPC
        out.truncate(max(0, out.tell() - pages_left * PAGE))
    return filler


@pytest.mark.parametrize("pages_left", range(13))
def test_a_store_without_space(tmp_path, disk, pages_left):
    store = Store(disk / "store")
    job = job_in(tmp_path, store)
    filler = fill(disk, pages_left)
    full = False
    try:
        run_job(job, compute)
    except (OSError, StoreError) as error:
        full = True
        assert "No space left" in str(error)
    assert full or pages_left > 4
    assert verify(store).clean
    filler.unlink()
    run_job(job, compute)
    assert state(tmp_path) and verify(store).clean


@pytest.mark.parametrize("pages_left", range(4))
def test_results_without_space(tmp_path, disk, pages_left):
    job = job_in(disk, Store(tmp_path / "store"))
    filler = fill(disk, pages_left)
    try:
        run_job(job, compute)
    except OSError as error:
        assert error.errno == errno.ENOSPC
    filler.unlink()
    run_job(job, compute)
    assert state(disk)


def test_a_read_only_store_is_refused_or_read(tmp_path):
    with small_disk("256k") as disk:
        store = Store(disk / "store")
        make_read_only(disk)
        with pytest.raises((OSError, StoreError), match="Read-only"):
            run_job(job_in(tmp_path, store), compute)
        make_writable(disk)
        run_job(job_in(tmp_path, store), compute)
        make_read_only(disk)
        for path in (tmp_path / "results").rglob("*.*"):
            path.unlink()
        run_job(job_in(tmp_path, store), never)
        assert state(tmp_path)


def test_read_only_results(tmp_path):
    with small_disk("256k") as disk:
        job = job_in(disk, Store(tmp_path / "store"))
        make_read_only(disk)
        with pytest.raises(OSError, match="Read-only"):
            run_job(job, compute)
        make_writable(disk)
        run_job(job, never)
        assert state(disk)
