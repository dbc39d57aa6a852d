"""Partial files: what is left is taken as far as its journal holds; full disks end cleanly."""

import dataclasses
import errno
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from fetch.conftest import QUICK, Fetch
from megaport.fetch.errors import FetchError, PartialError
from megaport.fetch.journal import Journal, claim, partial_key
from megaport.fetch.partial import Partial
from support import misbehaviours as bad
from support.misbehaving_server import ETAG, MisbehavingServer


def test_a_file_somebody_still_writes_is_read_but_not_removed(
    server: MisbehavingServer, fetch: Fetch, folder: Path, content: bytes, digest: str
) -> None:
    other = leave(folder, server.url(), content[:10_000])
    with other.open("rb") as held:
        assert claim(held)
        assert fetch(server.url()).sha256 == digest
    assert server.ranges == ["bytes=10000-"]
    assert other.exists()


def leave(folder: Path, url: str, content: bytes, **changes: Any) -> Path:
    """A partial file as a killed run leaves it."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{partial_key(url)}.{len(list(folder.iterdir())):08x}.part"
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    journal = Journal(len(content), digest, ETAG, 40_000, False)
    dataclasses.replace(journal, **changes).write(path)
    return path


def test_the_longest_leftover_is_taken_and_all_are_removed(
    server: MisbehavingServer, fetch: Fetch, folder: Path, content: bytes, digest: str
) -> None:
    for size in (10_000, 30_000, 20_000):
        leave(folder, server.url(), content[:size])
    found = fetch(server.url())
    assert found.sha256 == digest
    assert server.ranges == ["bytes=30000-"]
    assert {path.suffix for path in folder.iterdir()} == {".part", ".json"}
    assert len(list(folder.iterdir())) == 2


def test_bytes_after_the_journal_are_not_trusted(
    server: MisbehavingServer, fetch: Fetch, folder: Path, content: bytes, digest: str
) -> None:
    with leave(folder, server.url(), content[:10_000]).open("ab") as file:
        file.write(b"torn" * 100)
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == ["bytes=10000-"]


@pytest.mark.parametrize(
    "changes",
    [{"sha256": "0" * 64}, {"size": 9_999}, {"size": 20_000}, {"size": 10**15}],
    ids=["flipped bit", "too long", "truncated", "absurd"],
)
def test_a_leftover_that_belies_its_journal_is_dropped(
    server: MisbehavingServer,
    fetch: Fetch,
    folder: Path,
    content: bytes,
    digest: str,
    changes: dict[str, Any],
) -> None:
    leave(folder, server.url(), content[:10_000], **changes)
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None]


def test_the_next_leftover_may_be_good(
    server: MisbehavingServer, fetch: Fetch, folder: Path, content: bytes, digest: str
) -> None:
    leave(folder, server.url(), content[:30_000], sha256="0" * 64)
    leave(folder, server.url(), content[:20_000])
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == ["bytes=20000-"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "\x00",
        json.dumps({"size": "1", "sha256": "", "validator": None, "total": 1, "complete": False}),
        json.dumps({"size": -1, "sha256": "", "validator": None, "total": 1, "complete": False}),
        json.dumps({"size": 1, "sha256": "", "validator": 3, "total": 1, "complete": False}),
        json.dumps({"size": 1, "sha256": 2, "validator": None, "total": 1, "complete": False}),
        json.dumps({"size": 1, "sha256": "", "validator": None, "total": "", "complete": False}),
        json.dumps({"size": 1, "sha256": "", "validator": None, "total": 1, "complete": "yes"}),
    ],
)
def test_a_damaged_journal_is_no_journal(
    server: MisbehavingServer,
    fetch: Fetch,
    folder: Path,
    content: bytes,
    digest: str,
    text: str,
) -> None:
    path = leave(folder, server.url(), content[:10_000])
    path.with_name(path.name + ".json").write_text(text)
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None]


def test_another_url_has_other_partial_files(
    server: MisbehavingServer, fetch: Fetch, folder: Path, content: bytes
) -> None:
    leave(folder, server.url(path="/other"), content[:10_000])
    fetch(server.url())
    assert server.ranges == [None]


def test_the_url_is_not_in_the_file_names(
    server: MisbehavingServer, fetch: Fetch, folder: Path
) -> None:
    fetch(server.url(path="/checkpoint.zip?token=hidden"))
    assert all("hidden" not in path.name + path.read_text("latin1") for path in folder.iterdir())


def test_disk_full_is_a_clean_error_and_the_next_run_resumes(
    server: MisbehavingServer,
    fetch: Fetch,
    digest: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.will(bad.cut_after(20_000))
    append = Partial.append

    def full(partial: Partial, chunk: bytes) -> None:
        if partial.size >= 20_000:
            partial.file = Full()  # type: ignore[assignment]
        append(partial, chunk)

    monkeypatch.setattr(Partial, "append", full)
    with pytest.raises(PartialError, match="No space left on device") as failure:
        fetch(server.url(), server.url(path="/never-asked"))
    assert "store:" in str(failure.value)
    monkeypatch.undo()
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None, "bytes=20000-", "bytes=20000-"]


class Full:
    """A file on a full disk."""

    def write(self, _: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self) -> None:
        """As any file."""


def test_short_writes_are_completed(
    server: MisbehavingServer, fetch: Fetch, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow:
        def __init__(self, file: Any) -> None:
            self.file = file

        def write(self, data: memoryview) -> int:
            written: int = self.file.write(data[:7000])
            return written

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    create = Partial.__init__

    def slow(partial: Partial, *arguments: Any) -> None:
        create(partial, *arguments)
        partial.file = Slow(partial.file)  # type: ignore[assignment]

    monkeypatch.setattr(Partial, "__init__", slow)
    assert fetch(server.url()).sha256 == digest


def test_a_folder_that_cannot_be_made(
    server: MisbehavingServer, fetch: Fetch, folder: Path
) -> None:
    folder.write_text("a file where the folder should be")
    with pytest.raises(PartialError, match="File exists"):
        fetch(server.url())


def test_interrupted_by_the_user_keeps_what_is_here(
    server: MisbehavingServer, fetch: Fetch, digest: str
) -> None:
    def interrupt(path: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server.url(), check=interrupt)
    assert fetch(server.url()).sha256 == digest
    assert len(server.requests) == 1


def test_an_empty_partial_file_is_not_kept(fetch: Fetch, folder: Path) -> None:
    with pytest.raises(FetchError):
        fetch("http://127.0.0.1:1/", limits=dataclasses.replace(QUICK, retries=0))
    assert list(folder.iterdir()) == []
