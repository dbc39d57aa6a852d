"""Locks: held or not, and where only reading is allowed."""

import os

import pytest

from megaport.store.disk import exclusive, is_held


def test_a_lock_is_held_or_not(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    assert not is_held(path)
    with exclusive(path):
        assert is_held(path)
    assert not is_held(path)


def test_the_lock_of_an_action_lies_under_its_key(store):
    with store.locked("key"):
        assert is_held(store.root / "locks" / "key")


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o644), (0o022, 0o644), (0o002, 0o664)])
def test_others_may_read_a_lock_and_so_take_it(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with exclusive(tmp_path / "lock"):
            assert (tmp_path / "lock").stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)


def test_another_user_s_lock_that_may_only_be_read_still_locks(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    path.touch()
    opened = type(path).open

    def read_only(self, mode="r", *rest, **named):
        if self == path and "a" in mode:
            raise PermissionError(13, "Permission denied")
        return opened(self, mode, *rest, **named)

    monkeypatch.setattr(type(path), "open", read_only)
    with exclusive(path):
        assert is_held(path)


def test_a_lock_that_may_not_even_be_read_is_done_without(tmp_path, monkeypatch):
    """Who made it under a narrow umask was killed before opening it to others."""

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "open", refused)
    with exclusive(tmp_path / "lock"):
        assert is_held(tmp_path / "lock")
