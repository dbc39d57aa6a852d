"""Killed runs, and runs at once: nothing lost, nothing shared."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support import misbehaviours as bad

LIBRARY = Path(__file__).resolve().parents[2] / "workflow"
RUN = """
import sys, pathlib
from megaport.fetch.download import download
from megaport.fetch.response import Limits
found = download([sys.argv[1]], pathlib.Path(sys.argv[2]), limits=Limits(200_000, 60, 4))
print(found.sha256)
"""


def run(url, folder):
    return subprocess.Popen(
        [sys.executable, "-c", RUN, url, str(folder)],
        env=os.environ | {"PYTHONPATH": str(LIBRARY)},
        stdout=subprocess.PIPE,
        text=True,
    )


def until(what, seconds=10):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.01)


def no_locks(*_):
    raise OSError(errno.ENOLCK, "No locks available")


def test_kill_9_in_the_middle_then_the_next_run_resumes(server, fetch, folder, digest):
    server.will(bad.hang_after(25_000))
    victim = run(server.url(), folder)
    until(lambda: any(p.stat().st_size == 25_000 for p in folder.glob("*.part")))
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    found = fetch(server.url())
    assert found.sha256 == digest
    assert server.ranges == [None, "bytes=25000-"]
    assert set(folder.iterdir()) == {found.path, found.path.with_suffix(".json")}


def test_what_is_complete_but_not_moved_yet_is_not_taken_away(server, fetch, tmp_path):
    first = fetch(server.url())
    fetch(server.url())
    assert first.path.exists()
    assert first.move(tmp_path / "checkpoint.zip").exists()


def test_move_leaves_nothing_behind(server, fetch, folder, tmp_path, content):
    target = fetch(server.url()).move(tmp_path / "checkpoint.zip")
    assert target.read_bytes() == content
    assert list(folder.iterdir()) == []


def test_after_move_the_same_call_downloads_anew(server, fetch, tmp_path):
    """What was delivered is the caller's: a forced download really asks again."""
    fetch(server.url()).move(tmp_path / "checkpoint.zip")
    fetch(server.url())
    assert server.ranges == [None, None]


@pytest.mark.parametrize("locks", ["working", "missing"])
def test_two_at_once_do_not_disturb_each_other(
    server, fetch, tmp_path, content, locks, monkeypatch
):
    if locks == "missing":
        monkeypatch.setattr(fcntl, "flock", no_locks)
    server.will_always(bad.cut_after(3000))

    def one(number):
        return fetch(server.url()).move(tmp_path / f"{number}.zip").read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(one, range(4))) == {content}
    assert sum(path.stat().st_size for path in (tmp_path / "partial").iterdir()) == 0
