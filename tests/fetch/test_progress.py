"""A bar on a terminal, plain lines elsewhere."""

import io

import pytest

from fetch.conftest import Fetch
from megaport.fetch import progress as module
from megaport.fetch.progress import Bar, Lines, Progress, progress_on
from support import misbehaviours as bad
from support.misbehaving_server import MisbehavingServer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal(server: MisbehavingServer, fetch: Fetch) -> None:
    server.will(bad.cut_after(20_000))
    terminal = Terminal()
    progress = progress_on(terminal, print)
    assert isinstance(progress, Bar)
    fetch(server.url(), progress=progress)
    assert "\r" in terminal.getvalue()
    assert "cut before its end; trying again in 0 s\n" in terminal.getvalue()
    assert f"{server.url()}: complete, 40,000 bytes" in terminal.getvalue()


def test_plain_lines_elsewhere(server: MisbehavingServer, fetch: Fetch) -> None:
    lines: list[str] = []
    progress = progress_on(io.StringIO(), lines.append)
    assert isinstance(progress, Lines)
    server.will(bad.cut_after(20_000))
    fetch(server.url(), progress=progress)
    assert lines[0] == "0.0 of 0.0 MB"
    assert not any("\r" in line for line in lines)


def test_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    lines: list[str] = []
    progress = Lines(lines.append)
    progress.begin(10_000_000, 709_600_000)
    for _ in range(70):
        now[0] += 0.5
        progress.advance(10_000_000)
    assert lines == [
        "10.0 of 709.6 MB",
        "210.0 of 709.6 MB",
        "410.0 of 709.6 MB",
        "610.0 of 709.6 MB",
    ]
    progress.begin(0, None)
    assert lines[-1] == "0.0 MB"


def test_a_bar_that_never_began_can_end() -> None:
    bar = Bar(Terminal())
    bar.advance(1)
    bar.end()


def test_showing_nothing_is_allowed() -> None:
    quiet = Progress()
    quiet.begin(0, None)
    quiet.advance(1)
    quiet.note("nothing")
    quiet.end()
