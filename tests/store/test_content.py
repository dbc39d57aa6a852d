"""Remembered digests: never one that its file may have outgrown (the "racy git" problem)."""

import hashlib
import os
import time

import pytest

from megaport.store import content
from megaport.store.content import StatCache, canonical_json


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache for which a file of any age has settled."""
    monkeypatch.setattr(content, "RACY_NS", -1)
    return StatCache(tmp_path / "stat")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    return path


def remembered(cache: StatCache) -> list[str]:
    return [path.read_text() for path in cache.folder.glob("??/*")]


def digest(held: bytes) -> str:
    return hashlib.sha256(held).hexdigest()


def test_a_settled_file_is_read_once(cache, file, monkeypatch):
    assert cache.digest(file) == digest(b"hello")
    assert remembered(cache) == [digest(b"hello")]
    monkeypatch.setattr(content, "sha256_file", lambda path: pytest.fail("read again"))
    assert cache.digest(file) == digest(b"hello")


def test_other_bytes_of_the_same_size_and_an_old_time_are_read(cache, file):
    """Nobody can set ctime back."""
    cache.digest(file)
    before = file.stat()
    time.sleep(0.05)  # a tick of the file system's clock
    file.write_bytes(b"jello")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cache.digest(file) == digest(b"jello")


def test_a_file_that_changed_within_a_tick_of_the_clock_is_not_remembered(cache, file, monkeypatch):
    monkeypatch.setattr(content, "RACY_NS", 10**13)
    assert cache.digest(file) == digest(b"hello")
    assert remembered(cache) == []


def test_a_file_that_changes_while_it_is_read_is_not_remembered(cache, file, monkeypatch):
    def read_and_append(path):
        found = digest(path.read_bytes())
        with path.open("ab") as more:
            more.write(b"!")
        return found

    monkeypatch.setattr(content, "sha256_file", read_and_append)
    assert cache.digest(file) == digest(b"hello")
    assert remembered(cache) == []


def test_a_damaged_memory_is_read_anew(cache, file):
    cache.digest(file)
    [entry] = cache.folder.glob("??/*")
    for damage in (b"", b"../../outside", "ä".encode() * 32):
        entry.write_bytes(damage)
        assert cache.digest(file) == digest(b"hello")


def test_a_memory_that_takes_nothing_is_no_harm(cache, file):
    cache.folder.touch()
    assert cache.digest(file) == digest(b"hello")


def test_equal_values_have_one_spelling():
    assert canonical_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'.encode()
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(float("nan"))
