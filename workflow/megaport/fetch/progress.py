"""How far a download is: a bar on a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Callable
from typing import NoReturn, TextIO

from tqdm import tqdm

LINE_SECONDS = 10


class Progress:
    """Shows nothing; what the others are."""

    def begin(self, size: int, total: int | None) -> None:
        """Bytes here at the start of a try, and in all where known."""

    def advance(self, count: int) -> None:
        """`count` more bytes are here."""

    def note(self, line: str) -> None:
        """Something people want to know."""

    def end(self) -> None:
        """No more bytes of this source."""


class Bar(Progress):
    """A bar that moves."""

    def __init__(self, terminal: TextIO) -> None:
        self.terminal = terminal
        self.bar: tqdm[NoReturn] | None = None

    def begin(self, size: int, total: int | None) -> None:
        self.end()
        self.bar = tqdm(
            initial=size, total=total, unit="B", unit_scale=True, file=self.terminal, leave=False
        )

    def advance(self, count: int) -> None:
        if self.bar is not None:
            self.bar.update(count)

    def note(self, line: str) -> None:
        self.end()
        print(line, file=self.terminal, flush=True)

    def end(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class Lines(Progress):
    """A line at the start, every ten seconds, and for what happens between."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self.write = write
        self.size = 0
        self.total: int | None = None
        self.next_line = 0.0

    def begin(self, size: int, total: int | None) -> None:
        self.size, self.total = size, total
        self._tell()

    def advance(self, count: int) -> None:
        self.size += count
        if time.monotonic() >= self.next_line:
            self._tell()

    def note(self, line: str) -> None:
        self.write(line)

    def _tell(self) -> None:
        of = f" of {self.total / 1e6:,.1f}" if self.total else ""
        self.write(f"{self.size / 1e6:,.1f}{of} MB")
        self.next_line = time.monotonic() + LINE_SECONDS


def progress_on(stream: TextIO, write: Callable[[str], object]) -> Progress:
    """A bar where `stream` is a terminal, else lines given to `write` (a logger's method)."""
    return Bar(stream) if stream.isatty() else Lines(write)
