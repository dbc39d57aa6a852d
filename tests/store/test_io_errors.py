"""Row "ENOSPC, EIO, ...", at every single change of the disk: a clean error, and retry works."""

import builtins
import errno
import os
import pathlib
from collections.abc import Callable, Iterator

import pytest

from megaport.store.job import run_job
from megaport.store.store import StoreError
from megaport.store.upkeep import verify
from support.stores import OUTPUTS, compute, job_in, state

CHANGES = ("fsync", "chmod", "rename", "replace", "symlink", "unlink", "mkdir", "link")


class Disk:
    """Fails at the `at`-th change, or from there on."""

    def __init__(self, code: int, at: int, lasting: bool) -> None:
        self.code, self.left, self.lasting = code, at, lasting
        self.failed = False

    def change(self) -> None:
        self.left -= 1
        if self.left == -1 or (self.left < -1 and self.lasting):
            self.failed = True
            raise OSError(self.code, os.strerror(self.code), "disk")

    def failing(self, function: Callable) -> Callable:
        def call(*arguments, **options):
            self.change()
            return function(*arguments, **options)

        return call

    def failing_open(self, file, mode="r", *arguments, **options):
        if set("wax+") & set(mode):
            self.change()
        return OPEN(file, mode, *arguments, **options)


OPEN = builtins.open


def failing_disks(code: int, lasting: bool) -> Iterator[Disk]:
    at = 0
    while True:
        disk = Disk(code, at, lasting)
        yield disk
        if not disk.failed:
            return
        at += 1


def attempt(folder: pathlib.Path, disk: Disk) -> Exception | None:
    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGES:
            patch.setattr(os, name, disk.failing(getattr(os, name)))
        for name in ("write_bytes", "write_text"):
            patch.setattr(pathlib.Path, name, disk.failing(getattr(pathlib.Path, name)))
        patch.setattr(builtins, "open", disk.failing_open)
        try:
            run_job(job_in(folder), compute)
        except (OSError, StoreError) as error:
            return error
    return None


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_a_disk_that_fails_at_any_change_is_a_clean_error_and_retry_works(
    tmp_path_factory, code, lasting
):
    errors = 0
    for disk in failing_disks(code, lasting):
        folder = tmp_path_factory.mktemp("disk")
        error = attempt(folder, disk)
        errors += error is not None
        assert error is None or os.strerror(code) in str(error)
        assert verify(job_in(folder).store).clean
        for name, content in OUTPUTS.items():
            shown = folder / "results" / "m" / name
            published = (folder / "results" / "m" / "build.json").exists()
            assert shown.read_bytes() == content if shown.exists() else not published
        run_job(job_in(folder), compute)
        assert state(folder) and verify(job_in(folder).store).clean
        works = [path for path in (folder / "store" / "tmp").iterdir() if path.is_dir()]
        assert lasting or works == []
    assert errors > 15
