"""Partial files: killed runs, runs at once, damaged leftovers, full disks."""

import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fetch.conftest import QUICK, Fetch
from megaport.fetch.errors import FetchError, PartialError
from megaport.fetch.journal import Journal, claim, partial_key
from megaport.fetch.partial import Partial
from support import misbehaving_server as bad
from support.misbehaving_server import MisbehavingServer

LIBRARY = Path(__file__).resolve().parents[2] / "workflow"
RUN = """
import sys, pathlib
from megaport.fetch.download import download
from megaport.fetch.limits import Limits
found = download([sys.argv[1]], pathlib.Path(sys.argv[2]), limits=Limits(max_bytes=200_000))
print(found.sha256)
"""


def run(url: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, url, str(folder)],
        env=os.environ | {"PYTHONPATH": str(LIBRARY)},
        stdout=subprocess.PIPE,
        text=True,
    )


def until(what: Any, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.01)


def test_kill_9_in_the_middle_then_the_next_run_resumes(
    server: MisbehavingServer, fetch: Fetch, folder: Path, digest: str
) -> None:
    server.will(bad.hang_after(25_000))
    victim = run(server.url(), folder)
    until(lambda: any(p.stat().st_size == 25_000 for p in folder.glob("*.part")))
    until(lambda: any(folder.glob("*.json")))
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    found = fetch(server.url())
    assert found.sha256 == digest
    assert server.ranges[0] is None
    # What came within the journal's interval of the kill may have to be fetched again.
    assert server.ranges[1] is not None
    assert sorted(path.name for path in folder.iterdir()) == [
        found.path.name,
        found.path.name + ".json",
    ]


def test_a_file_removed_by_a_deceived_run_is_written_again(
    server: MisbehavingServer, fetch: Fetch, tmp_path: Path, content: bytes
) -> None:
    found = fetch(server.url())
    found.path.unlink()
    assert found.move(tmp_path / "checkpoint.zip").read_bytes() == content


def test_a_file_removed_while_it_grew_is_there_at_the_end(
    server: MisbehavingServer, fetch: Fetch, folder: Path, digest: str
) -> None:
    def remove_and_go_on(exchange: bad.Exchange) -> None:
        for path in folder.iterdir():
            path.unlink()
        bad.well_behaved(exchange)

    server.will(bad.cut_after(20_000), remove_and_go_on)
    assert fetch(server.url()).sha256 == digest


def test_what_is_complete_but_not_moved_yet_is_not_taken_away(
    server: MisbehavingServer, fetch: Fetch, tmp_path: Path
) -> None:
    first = fetch(server.url())
    fetch(server.url())
    assert first.path.exists()
    assert first.move(tmp_path / "checkpoint.zip").exists()


def test_kill_9_after_the_last_byte_asks_for_nothing_again(
    server: MisbehavingServer, fetch: Fetch, folder: Path, digest: str
) -> None:
    ended = run(server.url(), folder)
    assert ended.communicate()[0].strip() == digest
    assert fetch(server.url()).sha256 == digest
    assert len(server.requests) == 1


def test_move_leaves_nothing_behind(
    server: MisbehavingServer, fetch: Fetch, folder: Path, tmp_path: Path, content: bytes
) -> None:
    target = fetch(server.url()).move(tmp_path / "checkpoint.zip")
    assert target.read_bytes() == content
    assert list(folder.iterdir()) == []


def test_after_move_the_same_call_downloads_anew(
    server: MisbehavingServer, fetch: Fetch, tmp_path: Path
) -> None:
    """What was delivered is the caller's: a forced download really asks again."""
    fetch(server.url()).move(tmp_path / "checkpoint.zip")
    fetch(server.url())
    assert server.ranges == [None, None]


@pytest.mark.parametrize("locks", ["working", "missing", "lying"])
def test_two_at_once_do_not_disturb_each_other(
    server: MisbehavingServer,
    fetch: Fetch,
    tmp_path: Path,
    content: bytes,
    locks: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if locks == "missing":
        monkeypatch.setattr(fcntl, "flock", no_locks)
    if locks == "lying":
        monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    server.will_always(bad.cut_after(3000))

    def one(number: int) -> bytes:
        return fetch(server.url()).move(tmp_path / f"{number}.zip").read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(one, range(4))) == {content}


def no_locks(*_: Any) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


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
    journal = Journal(len(content), digest, bad.ETAG, 40_000, False)
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
