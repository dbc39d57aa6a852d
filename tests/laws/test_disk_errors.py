"""Row "ENOSPC, EIO, read-only store, read-only results", for whole runs: nothing built is lost.

The disk fills up while a run is at work, or fails once at a change that a job makes; the error is
short and says what to do, and the same command then goes on from where it was.
"""

import shutil

import pytest

from megaport.store.store import Store
from megaport.store.upkeep import verify
from support.checkout import checkout, content
from support.places import bound, can_mount, small_disk
from support.samples import point, samples

TARGET = "assemble"
CHAIN = {"download", "checksum", "inspect", "convert", "assemble"}
ROOM = "96m"
INFLATED = 22_000_000  # room for the checkpoint, which is inflated for a moment, or for the tensors


def fill(disk, left: int) -> None:
    free = shutil.disk_usage(disk).free
    (disk / "filler").write_bytes(bytes(free - left))


def refuse(ran, *words: str) -> None:
    assert ran.status != 0 and "Traceback" not in ran.text, ran.text
    assert "error: " in ran.text and all(word in ran.text for word in words), ran.text


if can_mount():

    def test_a_store_that_fills_up_keeps_what_was_built(snakemake, pristine, tmp_path):
        folder = checkout(tmp_path / "one", pristine)
        with small_disk(ROOM) as disk:
            there = ("--config", f"store={disk}/store")
            fill(disk, INFLATED)
            full = snakemake(folder, TARGET, *there)
            refuse(full, "No space left", "Free some space")
            assert {"download", "checksum"} <= full.computed < CHAIN
            assert verify(Store(disk / "store")).clean
            (disk / "filler").unlink()
            again = snakemake(folder, TARGET, *there)
            assert (again.status, again.computed) == (0, CHAIN - full.computed), again.text
            assert content(folder) == content(pristine)
            assert verify(Store(disk / "store")).clean

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("left", "lost"), [(1_000_000, set()), (0, CHAIN - {"download"})], ids=["little", "nothing"]
    )
    def test_results_that_fill_up_are_named_later(snakemake, pristine, tmp_path, left, lost):
        folder = checkout(tmp_path / "one", pristine)
        (folder / "results").mkdir()
        with small_disk(ROOM) as disk, bound(disk, folder / "results"):
            fill(disk, left)
            refuse(snakemake(folder, TARGET), "No space left", "Free some space")
            (disk / "filler").unlink()
            again = snakemake(folder, TARGET)
            assert (again.status, again.computed) == (0, lost), again.text
            assert content(folder) == content(pristine)


@pytest.fixture(scope="session")
def failing(server, pristine, tmp_path_factory):
    """Runs from nothing whose disk fails once; where jobs change it."""
    folder = checkout(tmp_path_factory.mktemp("failing") / "one", pristine)

    def fail(at: int):
        for part in ("results", ".store", ".snakemake"):
            shutil.rmtree(folder / part, ignore_errors=True)
        return folder, *server.die(folder, [TARGET], at, "disk")

    changes = fail(-1)[-1]
    return fail, [at for at, letter in enumerate(changes, 1) if letter == "j"]


def check(at: int, fail, snakemake, pristine) -> None:
    folder, ran, _ = fail(at)
    store = Store(folder / ".store")
    if ran.status:  # what only saves time, such as a remembered digest, may go unwritten
        refuse(ran, "Input/output error")
    assert verify(store).clean, at
    again = snakemake(folder, TARGET)
    assert again.status == 0 and again.computed <= CHAIN - ran.computed, again.text
    assert content(folder) == content(pristine), at
    assert verify(store).clean, at


@pytest.mark.parametrize("sample", samples(1, 5))
def test_a_disk_that_fails_once(failing, snakemake, pristine, sample):
    fail, points = failing
    check(point(points, sample), fail, snakemake, pristine)


def test_a_log_that_cannot_be_made(failing, snakemake, pristine):
    fail, points = failing
    check(points[1], fail, snakemake, pristine)
