"""Two users of a group and one store; only root can become another user (see conftest.py)."""

import os

import pytest

from megaport.fetch.partial import Partial
from megaport.fetch.trust import Trust
from megaport.store.disk import exclusive, is_held
from megaport.store.job import run_job
from megaport.store.store import Store
from megaport.store.upkeep import verify
from support.places import NOBODY, as_nobody
from support.stores import compute, job_in, never


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077], ids=oct)
def test_another_member_of_the_group_works_in_it(open_folder, umask):
    """The first user made every folder; the second replaces, locks and adds."""
    shared = open_folder / "store"
    shared.mkdir()
    os.chown(shared, 0, NOBODY)
    shared.chmod(0o2775)
    for name in ("one", "two"):
        (open_folder / name).mkdir()
        (open_folder / name).chmod(0o777)
    url = "https://one.example/a.zip"

    def work(name):
        run_job(job_in(open_folder / name, Store(shared)), compute)
        assert Trust(shared, "m", [url]).record("a" * 64) == "a" * 64
        with exclusive(shared / "locks" / "another"):
            partial = Partial(shared / "partial", url)
            partial.append(b"bytes")
            partial.close()

    before = os.umask(umask)
    try:
        work("one")
    finally:
        os.umask(before)
    for blob in Store(shared).blobs:
        blob.chmod(0o644)
        blob.write_bytes(b"rot")
    assert as_nobody(lambda: work("two")) == 0
    assert verify(Store(shared)).clean
    run_job(job_in(open_folder / "one", Store(shared)), never)


def test_a_lock_whose_maker_died_at_once_stops_nobody_and_counts_as_held(open_folder):
    """Killed before it could let others read it."""
    path = open_folder / "lock"
    path.touch(mode=0o600)

    def work():
        assert is_held(path)
        with exclusive(path):
            assert is_held(path)

    assert as_nobody(work) == 0
