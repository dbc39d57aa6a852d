"""Places and users that the tests of the store need."""

import shutil
import tempfile
from pathlib import Path

import pytest

from megaport.store.store import Store
from support.places import can_be_another, can_mount

collect_ignore = [
    *([] if can_mount() else ["test_full_disk.py"]),
    *([] if can_be_another() else ["test_two_users.py"]),
]


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
