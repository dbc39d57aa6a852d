"""Random sequences of settings, losses, damages, kills and runs (tests/support/soak.py).

A sequence is its seed. A run ends well, computes nothing that the store has, and leaves a store
that verifies; one for everything leaves what a clean build leaves, byte for byte and nothing beside
it, and nothing to be done.
"""

import shutil
from pathlib import Path
from random import Random

import pytest
import yaml

from megaport.store.store import Store
from megaport.store.upkeep import verify
from support.checkout import checkout, configured, content
from support.samples import samples
from support.soak import HEEDS, MODEL, Soaked, configuration

EVERYTHING = ("assemble", "pytorch_bin")
TARGETS = {
    EVERYTHING: 5,
    ("assemble",): 3,
    ("convert",): 2,
    ("checksum",): 1,
    (f"{MODEL}/converted/config.json",): 1,
    (f"{MODEL}/model/README.md",): 1,
}
CHANGES = 160  # about what a run of everything makes of the disk


@pytest.fixture(scope="session")
def clean(tmp_path_factory, snakemake):
    """What a build from nothing leaves, for some settings; they share a store."""
    top = tmp_path_factory.mktemp("clean")
    known = {}

    def build(settings: dict) -> dict[str, bytes]:
        text = yaml.safe_dump(configuration(settings))
        if text not in known:
            folder = checkout(top / "one")
            asked = configured(folder, configuration(settings))
            ran = snakemake(folder, *EVERYTHING, *asked, "--config", f"store={top / 'store'}")
            assert ran.status == 0, ran.text
            known[text] = content(folder)
            shutil.rmtree(folder)
        return known[text]

    return build


class Sequence:
    """One seed's checkout, and the runs in it."""

    def __init__(self, seed: int, folder: Path, clean, server) -> None:
        self.soaked = Soaked(folder, Random(seed), told=[f"seed {seed}"])
        self.clean, self.server = clean, server

    def go(self, runs: int) -> None:
        random = self.soaked.random
        for _ in range(runs):
            for _ in range(random.randint(1, 3)):
                self.soaked.disturb()
            target = random.choices([*TARGETS], [*TARGETS.values()])[0]
            random.choices([self.run, self.dry_run, self.kill], [8, 1, 2])[0](target)
        self.run(EVERYTHING)

    def run(self, target: tuple[str, ...]) -> None:
        soaked = self.soaked
        ran = self.server.snakemake(soaked.folder, *target, *soaked.arguments())
        soaked.told.append(f"run {target}: computed {sorted(ran.computed)}")
        assert ran.status == 0, self.why(ran.text)
        computed = {soaked.action(step) for step in ran.computed}
        assert not computed & soaked.known, self.why(computed & soaked.known, ran.text)
        soaked.known |= computed
        self.verify()
        if target == EVERYTHING:
            assert content(soaked.folder) == self.clean(soaked.settings), self.why(ran.text)
            soaked.known |= {soaked.action(step) for step in HEEDS}
            again = self.server.snakemake(soaked.folder, *target, *soaked.arguments())
            assert again.nothing, self.why(again.text)

    def dry_run(self, target: tuple[str, ...]) -> None:
        soaked = self.soaked
        told = self.server.snakemake(soaked.folder, "-n", *target, *soaked.arguments())
        soaked.told.append(f"dry run {target}")
        assert (told.status, told.computed, told.hits) == (0, set(), set()), self.why(told.text)

    def kill(self, target: tuple[str, ...]) -> None:
        soaked = self.soaked
        at, who = soaked.random.randrange(1, CHANGES), soaked.random.choice(["job", "run"])
        ran, _ = self.server.die(soaked.folder, (*target, *soaked.arguments()), at, who)
        soaked.told.append(f"{who} of {target} dies at change {at}: {ran.status}")
        self.verify()
        assert self.server.snakemake(soaked.folder, target[0], "--unlock").status == 0, self.why()

    def verify(self) -> None:
        soaked = self.soaked
        store = Store(soaked.folder / ".store")
        found = verify(store)
        named = [store.actions.get(key) for key in found.dangling]
        lost = [one and any(c.sha256 in soaked.lost for c in one.outputs.values()) for one in named]
        assert soaked.harmed or (not found.damaged and all(lost)), self.why(found)

    def why(self, *more: object) -> str:
        return "\n".join([*self.soaked.told, *map(str, more)])


@pytest.mark.parametrize("seed", samples(1, 7))
def test_a_sequence(seed, built, clean, server):
    Sequence(seed, built, clean, server).go(2 if seed == 0 else 4)
