"""Row "a user edits or truncates a file under results/": the store is unchanged, a rerun heals.

In place, as editors and tools do that keep the file; tests/laws/test_laws.py replaces files.
"""

import shutil

import pytest

from megaport.store.store import Store
from megaport.store.upkeep import verify
from support.checkout import MODEL, content


def blobs(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Store(folder / ".store").blobs}


@pytest.fixture(scope="module")
def published(pristine, tmp_path_factory, snakemake):
    """A checkout whose results were named by the workflow itself: copies would be other files."""
    folder = tmp_path_factory.mktemp("edits") / "published"
    shutil.copytree(pristine, folder, symlinks=True)
    shutil.rmtree(folder / "results")
    assert snakemake(folder, "assemble").status == 0
    return folder


@pytest.mark.parametrize(
    ("harm", "name"),
    [
        ("edited", "model.safetensors"),
        ("truncated", "model.safetensors"),
        ("emptied", "vocab.json"),
    ],
)
def test_a_file_a_user_edits_or_truncates_in_place_comes_back(snakemake, published, harm, name):
    before, stored = content(published), blobs(published)
    with (published / MODEL / "model" / name).open("r+b") as file:
        if harm == "edited":
            file.seek(9)
            file.write(b"X" * 9)
        else:
            file.truncate(9 if harm == "truncated" else 0)
    assert content(published) != before
    assert blobs(published) == stored and verify(Store(published / ".store")).clean
    ran = snakemake(published, "assemble")
    assert (ran.status, ran.computed, ran.hits) == (0, set(), {"assemble"}), ran.text
    assert content(published) == before
    assert blobs(published) == stored
