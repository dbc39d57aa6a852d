"""kill -9 of a whole run, or of one of its processes, at any change it makes to the disk.

Row "kill -9 at any write step, then rerun": old or new, never half; the rerun needs no clean-up.
tests/support/dying counts the changes of Snakemake and of its jobs together. The default run tries
a few; `-m slow` tries them all.
"""

import re
from pathlib import Path

import pytest

from megaport.store.store import Store
from megaport.store.verify import verify
from support.checkout import checkout, content
from support.killed import run_and_die

TARGET = "convert"
LATER = re.compile(
    r"/(model/|inspection/|assemble\.json|inspect\.json)"
)  # what TARGET does not make
SAMPLES = 4


@pytest.fixture(scope="session")
def changes(pristine, tmp_path_factory):
    """How many changes an undisturbed run makes."""
    folder = checkout(tmp_path_factory.mktemp("count") / "one", pristine)
    counter = folder.parent / "counter"
    assert not run_and_die(folder, counter, -1, "run", TARGET)
    return counter.stat().st_size


def check(folder: Path, at: int, who: str, snakemake, wanted: dict[str, bytes]) -> None:
    """Die, look at what is left, run again, and look at that."""
    run_and_die(folder, folder.parent / "counter", at, who, TARGET)
    store = Store(folder / ".store")
    assert verify(store).clean, f"{who} died at change {at}"
    again = snakemake(folder, TARGET)
    assert again.status == 0, f"{who} died at change {at}\n{again.text}"
    made = content(folder)
    assert set(made) == {name for name in wanted if not LATER.search(name)}
    assert [name for name in made if made[name] != wanted[name]] == []
    assert verify(store).clean


def test_the_harness_sees_snakemake_and_its_jobs(changes):
    assert changes > 100


@pytest.mark.parametrize("sample", range(SAMPLES))
@pytest.mark.parametrize("who", ["job", "run"])
def test_killed_at_some_changes_then_rerun(pristine, tmp_path, snakemake, changes, sample, who):
    folder = checkout(tmp_path / "one", pristine)
    at = changes * (2 * sample + 1 + (who == "run")) // (2 * SAMPLES + 1)
    check(folder, at, who, snakemake, content(pristine))


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("who", ["job", "run"])
def test_killed_at_every_change_then_rerun(pristine, tmp_path, snakemake, changes, who):
    for at in range(1, changes + 1):
        folder = checkout(tmp_path / str(at) / "one", pristine)
        check(folder, at, who, snakemake, content(pristine))
