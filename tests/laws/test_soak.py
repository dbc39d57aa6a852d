"""Random sequences of edits, losses, damages, kills and runs against a model of what should run.

A sequence is its seed. After every run that ended well: the bodies it computed are those the model
named before it (tests/support/soak_model.py), what the target makes is a clean build's byte for
byte, with nothing of another configuration beside it, and the store verifies.
"""

import shutil
from pathlib import Path
from random import Random

import pytest

from megaport.store.store import Store
from megaport.store.verify import verify
from support.killed import run_and_die
from support.samples import samples
from support.soak_model import MODEL, CleanBuilds, behind, expected, shown, write_settings
from support.soak_operations import Soaked, disturb

PINNED = "a55dc5c6275dd5bf4e5b99516a8099721e17bae8147d52151a185a1e8869e169"
CHOICES = {
    "dtype": (None, "float32"),
    "max_shard_size": (None, 10_000_000),
    "epsilon": (None, 1e-4),
    "tokenizer": ("gpt2", None),
    "sha256": (PINNED, None),
    "materialize": ("auto", "symlink"),
}
FEW = {name: values[: 2 if name == "max_shard_size" else 1] for name, values in CHOICES.items()}
TARGETS = {
    ("assemble", "pytorch_bin"): 5,
    ("assemble",): 3,
    ("convert",): 2,
    ("checksum",): 1,
    (f"{MODEL}/converted/config.json",): 1,
    (f"{MODEL}/model/README.md",): 1,
}
RULES = {f"{MODEL}/converted/config.json": "convert", f"{MODEL}/model/README.md": "assemble"}
CHANGES = 160  # about what a run of everything makes of the disk


@pytest.fixture(scope="session")
def clean(tmp_path_factory, snakemake):
    return CleanBuilds(tmp_path_factory.mktemp("clean"), snakemake)


@pytest.fixture(scope="session")
def start(clean):
    """A checkout in which everything is built, to copy."""
    folder = clean.top / "start"
    clean.build(folder, {name: values[0] for name, values in CHOICES.items()})
    return folder


class Sequence:
    """One seed's checkout, and the runs in it."""

    def __init__(self, seed: int, start: Path, top: Path, clean, snakemake, choices) -> None:
        random = Random(seed)
        folder = Path(shutil.copytree(start, top / "one", symlinks=True))
        first = {name: values[0] for name, values in choices.items()}
        self.soaked = Soaked(folder, first, random, choices, told=[f"seed {seed}"])
        self.clean, self.snakemake = clean, snakemake

    def go(self, runs: int) -> None:
        random = self.soaked.random
        for _ in range(runs):
            for _ in range(random.randint(1, 3)):
                disturb(self.soaked)
            target = random.choices([*TARGETS], [*TARGETS.values()])[0]
            random.choices([self.run, self.dry_run, self.kill], [8, 1, 2])[0](target)
        self.run(("assemble", "pytorch_bin"))

    def run(self, target: tuple[str, ...]) -> None:
        soaked = self.soaked
        rules = behind(RULES.get(name, name) for name in target)
        reference = self.clean.of(soaked.settings)
        must, may = expected(soaked.folder, rules, reference)
        arguments = write_settings(soaked.folder, soaked.settings)
        ran = self.snakemake(soaked.folder, *target, *arguments)
        soaked.told.append(f"run {target}: computed {sorted(ran.computed)}")
        assert ran.status == 0, self.why(ran.text)
        assert must <= ran.computed <= (may if soaked.disturbed else must), self.why(must, ran.text)
        assert shown(soaked.folder, rules) == reference.of(rules), self.why(ran.text)
        assert soaked.harmed or verify(Store(soaked.folder / ".store")).clean, self.why()

    def dry_run(self, target: tuple[str, ...]) -> None:
        soaked = self.soaked
        arguments = write_settings(soaked.folder, soaked.settings)
        told = self.snakemake(soaked.folder, "-n", *target, *arguments)
        soaked.told.append(f"dry run {target}")
        assert (told.status, told.computed, told.hits) == (0, set(), set()), self.why(told.text)

    def kill(self, target: tuple[str, ...]) -> None:
        soaked = self.soaked
        at, who = soaked.random.randrange(1, CHANGES), soaked.random.choice(["job", "run"])
        arguments = write_settings(soaked.folder, soaked.settings)
        counter = soaked.folder.parent / "counter"
        died = run_and_die(soaked.folder, counter, at, who, *target, *arguments)
        soaked.disturbed = True
        soaked.told.append(f"{who} of {target} {'dies' if died else 'lives'} at change {at}")
        assert soaked.harmed or verify(Store(soaked.folder / ".store")).clean, self.why()

    def why(self, *more: object) -> str:
        return "\n".join([*self.soaked.told, *map(str, more)])


@pytest.mark.parametrize("seed", samples(1, 2))
def test_a_short_sequence(seed, start, tmp_path, clean, snakemake):
    Sequence(seed, start, tmp_path, clean, snakemake, FEW).go(2)


@pytest.mark.parametrize("seed", samples(0, 4))
def test_a_sequence(seed, start, tmp_path, clean, snakemake):
    Sequence(1000 + seed, start, tmp_path, clean, snakemake, CHOICES).go(4)
    shutil.rmtree(tmp_path)
