"""A step that is stopped at any change it makes to the disk: by kill -9, or by the disk's error.

Rows "kill -9 at any write step, then rerun" and "ENOSPC, EIO, ...": old or new, never half; an
error is a clean one; the rerun succeeds.
"""

import errno
import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from megaport.store.job import run_job
from megaport.store.store import StoreError
from megaport.store.upkeep import verify
from support.dying.sitecustomize import before_changes
from support.stores import OUTPUTS, compute, job_in, state

LEAST = 15  # changes of a step, else the harness sees too little


class Stop:
    """Called before every change; stops the `at`-th, and if `lasting` those after it."""

    def __init__(self, at: int, stop: Callable[[], None], lasting: bool = False) -> None:
        self.left, self.stop, self.lasting = at, stop, lasting
        self.reached = False

    def __call__(self) -> None:
        self.left -= 1
        if self.left == -1 or (self.left < -1 and self.lasting):
            self.reached = True
            self.stop()


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    run_job(job_in(folder), compute)
    return state(folder)


def require_old_or_new(folder: Path) -> None:
    """What a stopped step left, which had nothing before it."""
    assert verify(job_in(folder).store).clean
    results = folder / "results" / "m"
    for name, content in OUTPUTS.items():
        shown = results / name
        if shown.exists():
            assert shown.read_bytes() == content
        else:
            assert not (results / "build.json").exists()


def require_rerun(folder: Path, clean: dict[str, bytes]) -> None:
    run_job(job_in(folder), compute)
    assert state(folder) == clean
    assert verify(job_in(folder).store).clean


def run_and_die(folder: Path, at: int) -> bool:
    """Run the step in a child that dies before its `at`-th change; False if it had fewer."""
    child = os.fork()
    if child == 0:
        before_changes(Stop(at, lambda: os.kill(os.getpid(), signal.SIGKILL)))
        try:
            run_job(job_in(folder), compute)
        except BaseException:
            os._exit(3)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


def test_kill_9_at_every_write_step_then_rerun(tmp_path_factory, clean):
    for at in itertools.count():
        folder = tmp_path_factory.mktemp("killed")
        died = run_and_die(folder, at)
        require_old_or_new(folder)
        require_rerun(folder, clean)
        if not died:
            break
    assert at > LEAST


def run_and_fail(folder: Path, stop: Stop) -> Exception | None:
    """The error that the step ends with; None where what failed only saves time."""
    with pytest.MonkeyPatch.context() as patch:
        before_changes(stop, patch.setattr)
        try:
            run_job(job_in(folder), compute)
        except (OSError, StoreError) as error:
            return error
    return None


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_a_disk_that_fails_at_any_change_is_a_clean_error_and_retry_works(
    tmp_path_factory, clean, code, lasting
):
    def fail():
        raise OSError(code, os.strerror(code), "disk")

    errors = 0
    for at in itertools.count():
        folder = tmp_path_factory.mktemp("disk")
        stop = Stop(at, fail, lasting)
        error = run_and_fail(folder, stop)
        errors += error is not None
        assert error is None or os.strerror(code) in str(error)
        require_old_or_new(folder)
        require_rerun(folder, clean)
        works = [path for path in (folder / "store" / "tmp").iterdir() if path.is_dir()]
        assert lasting or works == []
        if not stop.reached:
            break
    assert errors > LEAST
