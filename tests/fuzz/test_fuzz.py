"""A mutation fuzzer over archives, both serializations and pickles, and its past findings."""

from functools import partial
from pathlib import Path

import pytest

from fuzz.forge import generated, rezipped
from fuzz.harness import outcome
from fuzz.mutate import mutated
from fuzz.seeds import seeds
from support.samples import samples

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.bin"))
FEW = 250  # cases a sample
# Nothing in a legacy file, nor in a tar, can tell a changed weight; only the pinned digest does.
UNGUARDED = ("legacy", "legacy tar")


def cases(sample: int) -> range:
    return range(sample * FEW, (sample + 1) * FEW)


def fuzz(name: str, numbers: range, folder: Path) -> int:
    """Read mutations of a seed; how many were refused."""
    expected = outcome(seeds()[name], folder)
    refused = 0
    for number in numbers:
        data = mutated(seed_of(name, number), seeds()[name])
        found = outcome(data, folder)
        refused += found is None
        assert found is None or name in UNGUARDED or found == expected, f"{name}:{number}"
    return refused


def seed_of(name: str, number: int) -> int:
    return int.from_bytes(f"{name}:{number}".encode(), "big")


def forge(numbers: range, folder: Path) -> int:
    """Read files with right checksums and a mutated pickle, and two generated ones, a number."""
    refused = 0
    for number in numbers:
        forged = rezipped(seeds()["zip"], partial(mutated, seed_of("forged", number)))
        refused += outcome(forged, folder) is None
        for serialization in ("legacy", "zip"):
            data = generated(seed_of(serialization, number), serialization)
            refused += outcome(data, folder) is None
    return refused


@pytest.mark.parametrize("name", seeds())
def test_unmutated_seeds_are_read_alike_in_every_form(name: str, tmp_path: Path) -> None:
    found = outcome(seeds()[name], tmp_path)
    assert found == outcome(seeds()["zip"], tmp_path)
    assert found is not None
    assert len(found) == 5


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_past_findings_stay_refused_by_name(path: Path, tmp_path: Path) -> None:
    assert outcome(path.read_bytes(), tmp_path) is None


@pytest.mark.parametrize("sample", samples(1, 3))
@pytest.mark.parametrize("name", seeds())
def test_mutated_files_give_the_same_tensors_or_a_named_error(name, sample, tmp_path) -> None:
    assert fuzz(name, cases(sample), tmp_path) > FEW // 4


@pytest.mark.parametrize("sample", samples(1, 3))
def test_forged_pickles_behind_right_checksums_give_tensors_or_a_named_error(sample, tmp_path):
    assert FEW < forge(cases(sample), tmp_path) < 2 * FEW
