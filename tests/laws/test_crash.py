"""A run, or one of its jobs, that is stopped at any change of the disk: by kill -9, or by an error.

Rows "kill -9 at any write step, then rerun" and "ENOSPC, EIO, ...": old or new, never half; what
was built stays; the rerun needs no clean-up but, after a kill, Snakemake's own --unlock.
tests/support/dying counts the changes of Snakemake and of its jobs together.
"""

import shutil

import pytest

from megaport.store.store import Store
from megaport.store.upkeep import verify
from support.checkout import CHAIN, checkout, content, refuses
from support.samples import point, samples

TARGET = "assemble"


@pytest.fixture(scope="session")
def stop(server, pristine, tmp_path_factory):
    """Stops a run from nothing: its checkout, the run, a letter for each change it began."""
    folder = checkout(tmp_path_factory.mktemp("crash") / "one", pristine)

    def at_change(at: int, who: str):
        for part in ("results", ".store", ".snakemake"):
            shutil.rmtree(folder / part, ignore_errors=True)
        return folder, *server.die(folder, [TARGET], at, who)

    return at_change


@pytest.fixture(scope="session")
def changes(stop):
    """Those of a run that lives: the number of each that a process of such a letter makes."""
    *_, letters = stop(-1, "run")
    return {who: [at for at, letter in enumerate(letters, 1) if letter in who] for who in "js"}


@pytest.fixture
def rerun(snakemake, pristine):
    def finish(folder, at):
        store = Store(folder / ".store")
        ran = snakemake(folder, TARGET)
        assert ran.status == 0, f"stopped at change {at}\n{ran.text}"
        assert content(folder) == content(pristine), at
        assert verify(store).clean, at
        return ran

    return finish


def test_the_harness_sees_snakemake_and_its_jobs(changes):
    assert len(changes["s"]) > 30 and len(changes["j"]) > 50


@pytest.mark.parametrize("sample", samples(2, 10))
@pytest.mark.parametrize("who", ["job", "run"])
def test_killed_at_some_changes_then_rerun(stop, changes, snakemake, rerun, sample, who):
    points = changes["j"] if who == "job" else sorted(changes["j"] + changes["s"])
    at = point(points, sample)
    folder, _, begun = stop(at, who)
    assert len(begun) >= at
    assert verify(Store(folder / ".store")).clean, at
    assert snakemake(folder, TARGET, "--unlock").status == 0, at
    rerun(folder, at)


def check_error(at, stop, rerun) -> None:
    folder, ran, _ = stop(at, "disk")
    if ran.status:  # what only saves time, such as a remembered digest, may go unwritten
        refuses(ran, "Input/output error")
    assert verify(Store(folder / ".store")).clean, at
    assert rerun(folder, at).computed <= CHAIN - ran.computed, at


@pytest.mark.parametrize("sample", samples(1, 5))
def test_a_disk_that_fails_once(stop, changes, rerun, sample):
    check_error(point(changes["j"], sample), stop, rerun)


def test_a_log_that_cannot_be_made(stop, changes, rerun):
    check_error(changes["j"][1], stop, rerun)
