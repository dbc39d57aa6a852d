"""Places and users that the tests of the store need."""

import os
import shutil
import tempfile
import traceback
from pathlib import Path

import pytest

from megaport.store.store import Store
from support.mounts import can_mount

NOBODY = 65534

collect_ignore = [] if can_mount() else ["test_full_disk.py"]


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return Store(tmp_path / "store")


@pytest.fixture
def other_file_system():
    """A folder on the file system in memory that Linux mounts at /dev/shm."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def open_folder():
    """A folder that every user can reach; pytest's own are its user's alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def as_user():
    """Calls a function in a fork that has given up root; the exit status, 0 where it returned."""

    def call(function) -> int:
        child = os.fork()
        if child == 0:
            try:
                if os.geteuid() == 0:
                    os.setgroups([])
                    os.setgid(NOBODY)
                    os.setuid(NOBODY)
                function()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    return call
