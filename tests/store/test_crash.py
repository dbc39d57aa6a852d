"""kill -9 at every boundary of a step: then old or new, never half, and a rerun that succeeds.

A child process counts the calls that change the disk (open for writing, write, fsync, chmod,
rename, symlink, unlink, mkdir) and kills itself just before the n-th.
"""

import builtins
import os
import pathlib
import signal
from pathlib import Path

import pytest

from megaport.store.job import run_job
from megaport.store.upkeep import verify
from support.stores import OUTPUTS, compute, job_in, state

CHANGES = ("fsync", "chmod", "rename", "replace", "symlink", "unlink", "mkdir", "link")


def run_and_die(folder: Path, at: int) -> bool:
    """Run the step in a child that dies before its `at`-th change; False if it had fewer."""
    child = os.fork()
    if child == 0:
        counter = iter(range(at, -1, -1))

        def counted(function):
            def call(*arguments, **options):
                if next(counter) == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **options)

            return call

        for name in CHANGES:
            setattr(os, name, counted(getattr(os, name)))
        for name in ("write_bytes", "write_text"):
            setattr(pathlib.Path, name, counted(getattr(pathlib.Path, name)))
        builtins.open = counted(builtins.open)
        try:
            run_job(job_in(folder), compute)
        except BaseException:
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def boundaries(tmp_path_factory) -> int:
    at = 0
    while run_and_die(tmp_path_factory.mktemp("count"), at):
        at += 1
    return at


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    run_job(job_in(folder), compute)
    return state(folder)


def test_there_are_boundaries_enough_to_trust_the_harness(tmp_path_factory):
    assert boundaries(tmp_path_factory) > 15


def test_kill_9_at_every_write_step_then_rerun(tmp_path_factory, clean):
    at = 0
    while True:
        folder = tmp_path_factory.mktemp("killed")
        died = run_and_die(folder, at)
        half = verify(job_in(folder).store)
        assert half.damaged == [] and half.dangling == [], f"after death at change {at}"
        for name, content in OUTPUTS.items():
            shown = folder / "results" / "m" / name
            assert not shown.exists() or shown.read_bytes() == content
        run_job(job_in(folder), compute)
        assert state(folder) == clean, f"after death at change {at}"
        assert verify(job_in(folder).store).clean
        if not died:
            break
        at += 1
