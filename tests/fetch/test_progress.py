"""A bar on a terminal, plain lines elsewhere."""

import io

import pytest

from megaport.fetch import progress
from megaport.fetch.progress import progress_on
from support import misbehaviours as bad


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_on_a_terminal(server, fetch):
    server.will(bad.cut_after(20_000))
    terminal = Terminal()
    fetch(server.url(), progress=progress_on(terminal, print))
    assert "\r" in terminal.getvalue()
    assert "cut before its end; trying again in 0 s\n" in terminal.getvalue()
    assert f"{server.url()}: complete, 40,000 bytes" in terminal.getvalue()


def test_plain_lines_in_a_log(server, fetch):
    lines: list[str] = []
    server.will(bad.cut_after(20_000))
    fetch(server.url(), progress=progress_on(io.StringIO(), lines.append))
    assert lines[0].startswith("0.00B of 40.0kB")
    assert [line for line in lines if "\r" in line or not line.strip()] == []
    assert lines[-1].endswith("complete, 40,000 bytes, sha256 " + lines[-1].split()[-1])


@pytest.mark.parametrize(("seconds", "told"), [(0, 71), (1000, 1)])
def test_lines_come_now_and_then(seconds, told, monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", seconds)
    lines: list[str] = []
    shown = progress_on(io.StringIO(), lines.append)
    shown.begin(10_000_000, 709_600_000)
    for _ in range(70):
        shown.advance(10_000_000)
    shown.end()
    assert len(lines) == told
    assert lines[0].startswith("10.0MB of 710MB")
