"""kill -9 of a whole run, or of one of its processes, at any change it makes to the disk.

Row "kill -9 at any write step, then rerun": old or new, never half; the rerun needs no clean-up but
Snakemake's own --unlock.
tests/support/dying counts the changes of Snakemake and of its jobs together.
"""

import shutil

import pytest

from megaport.store.store import Store
from megaport.store.upkeep import verify
from support.checkout import checkout, content
from support.samples import point, samples

TARGET = "convert"


@pytest.fixture(scope="session")
def victim(server, pristine, tmp_path_factory):
    """A checkout, and a run in it from nothing that dies; a letter for each change it began."""
    folder = checkout(tmp_path_factory.mktemp("crash") / "one", pristine)

    def die(at: int, who: str) -> str:
        for part in ("results", ".store", ".snakemake"):
            shutil.rmtree(folder / part, ignore_errors=True)
        return server.die(folder, [TARGET], at, who)[1]

    return folder, die


@pytest.fixture(scope="session")
def whole(victim):
    """What a run that lives makes, and its changes."""
    folder, die = victim
    changes = die(-1, "run")
    return content(folder), changes


def test_the_harness_sees_snakemake_and_its_jobs(whole):
    _, changes = whole
    assert changes.count("s") > 30 and changes.count("j") > 50


@pytest.mark.parametrize("sample", samples(2, 10))
@pytest.mark.parametrize("who", ["job", "run"])
def test_killed_at_some_changes_then_rerun(victim, whole, snakemake, sample, who):
    folder, die = victim
    wanted, changes = whole
    letters = {"job": "j", "run": "js"}[who]
    at = point([at for at, letter in enumerate(changes, 1) if letter in letters], sample)
    assert len(die(at, who)) >= at
    store = Store(folder / ".store")
    assert verify(store).clean, at
    assert snakemake(folder, TARGET, "--unlock").status == 0, at
    again = snakemake(folder, TARGET)
    assert again.status == 0, f"{who} died at change {at}\n{again.text}"
    assert content(folder) == wanted, at
    assert verify(store).clean, at
