"""Row "ENOSPC, EIO, read-only store, read-only results", for whole runs: clean error; retry works.

On real file systems: the error is short and says what to do, nothing built is lost, and the same
command then goes on from where it was. tests/store does the same to a single step.
"""

import shutil

import pytest

from megaport.store.store import Store
from megaport.store.upkeep import verify
from support.checkout import CHAIN, checkout, content, refuses
from support.places import bound, make_read_only, make_writable, small_disk

TARGET = "assemble"
ROOM = "96m"
INFLATED = 22_000_000  # room for the checkpoint, which is inflated for a moment, or for the tensors


@pytest.fixture
def disk():
    with small_disk(ROOM) as folder:
        yield folder


@pytest.fixture
def one(pristine, tmp_path):
    return checkout(tmp_path / "one", pristine)


@pytest.fixture
def with_results(one, disk):
    """A checkout whose results/ are that disk."""
    (one / "results").mkdir()
    with bound(disk, one / "results"):
        yield one


def store_on(disk) -> tuple[str, str]:
    return ("--config", f"store={disk}/store")


def fill(disk, left: int) -> None:
    free = shutil.disk_usage(disk).free
    (disk / "filler").write_bytes(bytes(free - left))


@pytest.mark.parametrize(
    ("left", "kept", "seen"),
    [
        (INFLATED, {"download", "checksum"}, "No space left"),
        pytest.param(1_000_000, {"download"}, "bytes to inflate", marks=pytest.mark.slow),
    ],
    ids=["for one of two", "for neither"],
)
def test_a_store_that_fills_up_keeps_what_was_built(
    snakemake, pristine, one, disk, left, kept, seen
):
    fill(disk, left)
    full = snakemake(one, TARGET, *store_on(disk))
    refuses(full, seen, "Free some space")
    assert kept <= full.computed < CHAIN
    assert verify(Store(disk / "store")).clean
    (disk / "filler").unlink()
    again = snakemake(one, TARGET, *store_on(disk))
    assert (again.status, again.computed) == (0, CHAIN - full.computed), again.text
    assert content(one) == content(pristine)
    assert verify(Store(disk / "store")).clean


@pytest.mark.slow
@pytest.mark.parametrize(
    ("left", "lost"), [(1_000_000, set()), (0, CHAIN - {"download"})], ids=["little", "nothing"]
)
def test_results_that_fill_up_are_named_later(snakemake, pristine, with_results, disk, left, lost):
    fill(disk, left)
    refuses(snakemake(with_results, TARGET), "No space left", "Free some space")
    (disk / "filler").unlink()
    again = snakemake(with_results, TARGET)
    assert (again.status, again.computed) == (0, lost), again.text
    assert content(with_results) == content(pristine)


def test_a_run_on_a_read_only_store_is_refused_or_reads_it(snakemake, pristine, one, disk):
    make_read_only(disk)
    refuses(snakemake(one, TARGET, *store_on(disk)), "Read-only file system")
    make_writable(disk)
    assert snakemake(one, TARGET, *store_on(disk)).status == 0
    make_read_only(disk)
    shutil.rmtree(one / "results")
    ran = snakemake(one, TARGET, *store_on(disk))
    assert (ran.status, ran.computed) == (0, set()), ran.text
    assert content(one) == content(pristine)


@pytest.mark.slow
def test_read_only_results_are_a_clean_error_and_retry_works(
    snakemake, pristine, with_results, disk
):
    make_read_only(disk)
    refused = snakemake(with_results, TARGET)
    assert refused.status != 0 and "Traceback" not in refused.text, refused.text
    assert "Read-only file system: 'results/austen-tiny'" in refused.text
    make_writable(disk)
    assert snakemake(with_results, TARGET).status == 0
    make_read_only(disk)
    assert snakemake(with_results, TARGET).nothing
    assert content(with_results) == content(pristine)


def test_a_read_only_working_directory_is_named(snakemake, pristine, disk):
    folder = checkout(disk / "one", pristine)
    make_read_only(disk)
    refused = snakemake(folder, TARGET)
    assert refused.status != 0 and "Traceback" not in refused.text, refused.text
    assert f"working directory {folder}: found that it cannot be written" in refused.text
