"""kill -9 of a whole run, or of one of its processes, at any change it makes to the disk.

Row "kill -9 at any write step, then rerun": old or new, never half; the rerun needs no clean-up.
tests/support/dying counts the changes of Snakemake and of its jobs together. The default run tries
a few points of a run of three jobs; `-m slow` every point of each job's run, begun where the jobs
before it have ended, in shards (`-k convert-run-3` is one).
"""

import shutil
from pathlib import Path

import pytest

from megaport.store.store import Store
from megaport.store.verify import verify
from support.checkout import checkout, content

MADE = {
    "download": ("/download.json",),
    "checksum": ("/download.json", "/checksum.json"),
    "convert": ("/download.json", "/checksum.json", "/convert.json", "/converted/"),
}
FIRST, *_, LAST = MADE
STATE = ("results", ".store", ".snakemake")
SAMPLES, SHARDS = 4, 6


class Victim:
    """A checkout whose runs die, put back to where it was before each."""

    def __init__(self, folder: Path, server, wanted: dict[str, bytes]) -> None:
        self.folder = folder
        self.server = server
        self.wanted = wanted

    def save(self, step: str) -> None:
        """The state before a step, under its name."""
        for part in filter(lambda name: (self.folder / name).exists(), STATE):
            shutil.copytree(self.folder / part, self.saved(step) / part, symlinks=True)

    def saved(self, step: str) -> Path:
        return self.folder.parent / f"before-{step}"

    def die(self, start: str, target: str, at: int, who: str) -> str:
        """Die in a run for `target` that starts before the step `start`; the changes begun."""
        for part in STATE:
            shutil.rmtree(self.folder / part, ignore_errors=True)
        if self.saved(start).exists():
            shutil.copytree(self.saved(start), self.folder, symlinks=True, dirs_exist_ok=True)
        return self.server.die(self.folder, target, at, who)[1]

    def check(self, start: str, target: str, at: int, who: str) -> None:
        """Die, look at what is left, run again, and look at that."""
        told = f"{who} died at change {at} of {target}"
        assert len(self.die(start, target, at, who)) >= at, told
        store = Store(self.folder / ".store")
        assert verify(store).clean, told
        again = self.server.snakemake(self.folder, target)
        assert again.status == 0, f"{told}\n{again.text}"
        names = [name for name in self.wanted if any(part in name for part in MADE[target])]
        assert content(self.folder) == {name: self.wanted[name] for name in names}, told
        assert verify(store).clean, told


@pytest.fixture(scope="session")
def victim(server, pristine, tmp_path_factory):
    folder = checkout(tmp_path_factory.mktemp("crash") / "one", pristine)
    victim = Victim(folder, server, content(pristine))
    for step in MADE:
        victim.save(step)
        assert server.snakemake(folder, step).status == 0
    return victim


@pytest.fixture(scope="session")
def changes(victim):
    return victim.die(FIRST, LAST, at=-1, who="run")


def test_the_harness_sees_snakemake_and_its_jobs(changes):
    assert changes.count("s") > 50 and changes.count("j") > 50


@pytest.mark.parametrize("sample", range(SAMPLES))
@pytest.mark.parametrize("who", ["job", "run"])
def test_killed_at_some_changes_then_rerun(victim, changes, sample, who):
    at = len(changes) * (2 * sample + 1 + (who == "run")) // (2 * SAMPLES + 1)
    victim.check(FIRST, LAST, at, who)


def points(changes: str, step: str, who: str) -> list[int]:
    """Where to die. Until its job changes something a run is like that of any step, so one step's
    points are enough; and without a job at work Snakemake's death is that of the whole run."""
    first = 0 if step == FIRST else changes.index("j") - 2
    jobs = [at for at, letter in enumerate(changes, 1) if letter == "j"]
    return jobs if who == "job" else list(range(first + 1, len(changes) + 1))


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("who", ["job", "run"])
@pytest.mark.parametrize("step", MADE)
def test_killed_at_every_change_then_rerun(victim, step, who, shard):
    changes = victim.die(step, step, at=-1, who=who)
    for at in points(changes, step, who)[shard::SHARDS]:
        victim.check(step, step, at, who)
