"""Row "ENOSPC, EIO, read-only store, read-only results", for whole runs: clean error; retry works.

On real file systems, where they can be mounted; tests/store does the same to a single step.
"""

import shutil

import pytest

from support.checkout import checkout, content
from support.places import bound, can_mount, make_read_only, make_writable, small_disk

TARGET = "assemble"
ROOM = "64m"
TOO_SMALL = ("1m", "9m", "20m")  # for the first, the second and the last file of the model


def store_on(disk):
    return ("--config", f"store={disk}/store")


if can_mount():

    @pytest.mark.slow
    def test_a_run_on_a_store_without_space_is_a_clean_error_and_retry_works(
        snakemake, pristine, tmp_path
    ):
        folder = checkout(tmp_path / "one", pristine)
        for size in TOO_SMALL:
            with small_disk(size) as disk:
                ran = snakemake(folder, TARGET, *store_on(disk))
                assert ran.status != 0 and "Traceback" not in ran.text, ran.text
                assert "No space left" in ran.text or "Free some space" in ran.text, ran.text
        ran = snakemake(folder, TARGET)
        assert ran.status == 0, ran.text
        assert content(folder) == content(pristine)

    def test_a_run_on_a_read_only_store_is_refused_or_reads_it(snakemake, pristine, tmp_path):
        folder = checkout(tmp_path / "one", pristine)
        with small_disk(ROOM) as disk:
            make_read_only(disk)
            refused = snakemake(folder, TARGET, *store_on(disk))
            assert refused.status != 0 and "Traceback" not in refused.text, refused.text
            assert "error: " in refused.text and "Read-only file system" in refused.text
            make_writable(disk)
            assert snakemake(folder, TARGET, *store_on(disk)).status == 0
            make_read_only(disk)
            shutil.rmtree(folder / "results")
            ran = snakemake(folder, TARGET, *store_on(disk))
            assert (ran.status, ran.computed) == (0, set()), ran.text
            assert content(folder) == content(pristine)

    @pytest.mark.slow
    def test_read_only_results_are_a_clean_error_and_retry_works(snakemake, pristine, tmp_path):
        folder = checkout(tmp_path / "one", pristine)
        (folder / "results").mkdir()
        with small_disk(ROOM) as disk, bound(disk, folder / "results"):
            make_read_only(disk)
            refused = snakemake(folder, TARGET)
            assert refused.status != 0 and "Traceback" not in refused.text, refused.text
            assert "Read-only file system: 'results/austen-tiny'" in refused.text
            make_writable(disk)
            assert snakemake(folder, TARGET).status == 0
            make_read_only(disk)
            assert snakemake(folder, TARGET).nothing
            assert content(folder) == content(pristine)

    def test_a_read_only_working_directory_is_named(snakemake, pristine):
        with small_disk(ROOM) as disk:
            folder = checkout(disk / "one", pristine)
            make_read_only(disk)
            refused = snakemake(folder, TARGET)
            assert refused.status != 0 and "Traceback" not in refused.text, refused.text
            assert f"working directory {folder}: found that it cannot be written" in refused.text
