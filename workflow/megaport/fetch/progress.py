"""How far a download is: a bar on a terminal, a plain line now and then in a log."""

from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm

LINE_SECONDS = 10
LINE = "{n_fmt}B of {total_fmt}B ({rate_fmt})"


class Progress:
    """Shows nothing, unless given a way to say a line and tqdm's options."""

    def __init__(self, write: Callable[[str], object] = lambda line: None, **options: Any) -> None:
        self.write = write
        self.options = options or {"disable": True}
        self.bar: Any = None

    def begin(self, size: int, total: int | None) -> None:
        """Bytes here at the start of a try, and in all where known."""
        self.end()
        self.bar = tqdm(initial=size, total=total, unit="B", unit_scale=True, **self.options)

    def advance(self, count: int) -> None:
        """`count` more bytes are here."""
        self.bar.update(count)

    def note(self, line: str) -> None:
        """Something people want to know."""
        self.end()
        self.write(line)

    def end(self) -> None:
        """No more bytes of this source."""
        if self.bar is not None:
            self.bar.close()


class _Lines:
    """The file tqdm writes to where nothing can move: each state of the bar is a line."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def write(self, text: str) -> None:
        if line := text.strip():
            self._write(line)

    def flush(self) -> None:
        """A line is written at once."""


def progress_on(stream: TextIO, write: Callable[[str], object]) -> Progress:
    """A bar where `stream` is a terminal, else lines given to `write` (a logger's method)."""
    if stream.isatty():
        return Progress(lambda line: print(line, file=stream), file=stream, leave=False)
    # Libraries' bars may be turned off where there is no terminal: this one has lines to say.
    every = {
        "disable": False,
        "mininterval": LINE_SECONDS,
        "miniters": 1,
        "bar_format": LINE,
        "leave": False,
    }
    return Progress(write, file=_Lines(write), **every)
