"""Partial files: what is left is continued where something vouches for it; disks fail cleanly."""

import errno
import json
import os
import platform

import pytest

from megaport.fetch.partial import Partial, PartialError
from support import misbehaviours as bad
from support.misbehaving_server import ETAG


def leave(folder, url, content, described=None):
    """A partial file as a killed run leaves it."""
    partial = Partial(folder, url)
    partial.restart(ETAG, 40_000)
    partial.append(content)
    partial.close()
    if described is not None:
        partial.path.with_suffix(".json").write_text(str(described))
    return partial.path


@pytest.mark.parametrize(
    "described",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "\x00",
        json.dumps({"validator": 3, "total": 1}),
        json.dumps({"validator": ETAG, "total": "1"}),
        json.dumps({"validator": None, "total": 40_000}),
    ],
)
def test_without_a_description_nothing_is_continued(
    server, fetch, folder, content, digest, described
):
    leave(folder, server.url(), content[:10_000], described)
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None]


def test_a_leftover_longer_than_the_file_is_dropped(server, fetch, folder, content, digest):
    leave(folder, server.url(), content + b"more")
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == ["bytes=40004-"]


def test_another_url_has_another_partial_file(server, fetch, folder, content):
    leave(folder, server.url(path="/other"), content[:10_000])
    fetch(server.url())
    assert server.ranges == [None]


def test_another_machine_has_another_partial_file(server, fetch, folder, content, monkeypatch):
    """Whose lock may not be seen from here."""
    left = leave(folder, server.url(), content[:10_000])
    monkeypatch.setattr(platform, "node", lambda: "another")
    fetch(server.url())
    assert left.read_bytes() == content[:10_000]
    assert server.ranges == [None]


def test_another_users_partial_file_is_left_alone(
    server, fetch, folder, content, digest, monkeypatch
):
    left = leave(folder, server.url(), content[:10_000])
    opened = os.open

    def refuse(path, *arguments):
        if path == left:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    assert fetch(server.url()).sha256 == digest
    assert left.read_bytes() == content[:10_000]


def test_who_cannot_have_the_lock_leaves_nothing(folder):
    held = Partial(folder, "https://a.example/m.zip")
    other = Partial(folder, "https://a.example/m.zip")
    other.restart(ETAG, 9)
    other.append(b"bytes")
    other.close()
    held.close()
    assert not list(folder.iterdir())


def test_the_url_is_not_in_the_file_names(server, fetch, folder):
    fetch(server.url(path="/checkpoint.zip?token=hidden"))
    assert all("hidden" not in path.name + path.read_text("latin1") for path in folder.iterdir())


class Disk:
    """A file that takes 7000 bytes at a time, and at most `room` in all."""

    def __init__(self, file, room):
        self.file = file
        self.room = room

    def write(self, data):
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written: int = self.file.write(data[: min(7000, self.room)])
        self.room -= written
        return written

    def __getattr__(self, name):
        return getattr(self.file, name)


def on_a_disk(room, monkeypatch):
    create = Partial.__init__

    def created(partial, *arguments):
        create(partial, *arguments)
        partial.file = Disk(partial.file, room)

    monkeypatch.setattr(Partial, "__init__", created)


def test_disk_full_is_a_clean_error_and_the_next_run_resumes(server, fetch, digest, monkeypatch):
    server.will(bad.cut_after(30_000))
    on_a_disk(20_000, monkeypatch)
    with pytest.raises(PartialError, match="No space left on device") as failure:
        fetch(server.url(), server.url(path="/never-asked"))
    assert "store:" in str(failure.value)
    monkeypatch.undo()
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None, "bytes=20000-"]


def test_a_folder_that_cannot_be_made(server, fetch, folder):
    folder.write_text("a file where the folder should be")
    with pytest.raises(PartialError, match="File exists"):
        fetch(server.url())


def test_interrupted_by_the_user_keeps_what_is_here(server, fetch, digest):
    def interrupt(path):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server.url(), check=interrupt)
    assert fetch(server.url()).sha256 == digest
    assert len(server.requests) == 1
