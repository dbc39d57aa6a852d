"""Row "a user edits or truncates a file under results/": the store is unchanged, a rerun heals.

In place, as editors and tools do that keep the file; tests/laws/test_laws.py replaces files.
"""

from pathlib import Path

import pytest

from megaport.store.store import Store
from megaport.store.verify import verify
from support.checkout import content

MODEL = Path("results/austen-tiny/model")


def blobs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Store(folder / ".store").blobs}


@pytest.mark.parametrize(
    ("harm", "name"),
    [
        ("edited", "model.safetensors"),
        ("truncated", "model.safetensors"),
        ("emptied", "vocab.json"),
    ],
)
def test_a_file_a_user_edits_or_truncates_in_place_comes_back(snakemake, built, harm, name):
    before, stored = content(built), blobs(built)
    with (built / MODEL / name).open("r+b") as file:
        if harm == "edited":
            file.seek(9)
            file.write(b"X" * 9)
        else:
            file.truncate(9 if harm == "truncated" else 0)
    assert content(built) != before
    assert blobs(built) == stored and verify(Store(built / ".store")).clean
    ran = snakemake(built, "assemble")
    assert (ran.status, ran.computed, ran.hits) == (0, set(), {"assemble"}), ran.text
    assert content(built) == before
    assert blobs(built) == stored
