"""Row "blob truncated, emptied or bit-rotted; action entry pointing at a missing blob"."""

import errno
import os

import pytest

from megaport.cli import main
from megaport.store.content import sha256_file
from megaport.store.job import run_job
from support.stores import compute, job_in, never, state

HARMS = {
    "truncated": lambda good: good[:-1],
    "emptied": lambda good: b"",
    "bit-rotted": lambda good: bytes([good[0] ^ 1]) + good[1:],
    "missing": None,
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_harmed_blob_is_reported_by_verify_a_miss_and_rebuilt(tmp_path, capsys, harm):
    job = job_in(tmp_path)
    run_job(job, compute)
    good = state(tmp_path)
    blob = next(iter(job.store.blobs))
    content = blob.read_bytes()
    blob.unlink()
    if HARMS[harm]:
        blob.write_bytes(HARMS[harm](content))
    assert main(["store", "verify", str(job.store.root)]) == 1
    said = capsys.readouterr().out
    assert f"action {job.action.key} names a blob that is missing or damaged" in said
    assert (f"damaged blob {blob.name}" in said) == (harm != "missing")
    with pytest.raises(AssertionError, match="it was computed"):
        run_job(job_in(tmp_path), never)
    run_job(job_in(tmp_path), compute)
    assert state(tmp_path) == good
    assert main(["store", "verify", str(job.store.root)]) == 0
    run_job(job_in(tmp_path), never)


def test_a_blob_that_the_disk_does_not_give_is_reported_by_verify(tmp_path, capsys, monkeypatch):
    job = job_in(tmp_path)
    run_job(job, compute)
    blob = next(iter(job.store.blobs))

    def read(path):
        if path.name == blob.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return sha256_file(path)

    monkeypatch.setattr("megaport.store.upkeep.sha256_file", read)
    assert main(["store", "verify", str(job.store.root)]) == 1
    assert f"damaged blob {blob.name}" in capsys.readouterr().out
