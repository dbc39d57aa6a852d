"""One response, read in a thread of its own, so that no peer can hold the caller.

A socket timeout bounds the wait for the next byte only: a peer that drips its headers, its chunk
sizes or its body byte by byte, or a name server that never answers, would hold a plain read for
ever. Here the caller waits on a queue for as long as it chooses and then leaves.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event, Thread
from types import TracebackType
from typing import Self

from requests import Response
from requests.structures import CaseInsensitiveDict

from megaport.fetch.errors import SourceError, TryError
from megaport.fetch.reasons import NETWORK, in_words, is_hopeless

CHUNK = 1 << 20  # bytes asked of the socket at once
WAITING = 8  # chunks that may wait for the caller


@dataclass(frozen=True)
class Answer:
    """Status and headers of a response."""

    status: int
    headers: CaseInsensitiveDict[str]


class Stream:
    """What `ask` brings: an Answer, then its undecoded body. A context manager."""

    def __init__(self, ask: Callable[[], Response]) -> None:
        self._ask = ask
        self._items: Queue[Answer | bytes | Exception] = Queue(WAITING)
        self._left = Event()

    def __enter__(self) -> Self:
        Thread(target=self._read, daemon=True, name="download").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Leave; the thread ends by itself at its next byte, and never waits for the caller."""
        self._left.set()
        with suppress(Empty):
            while True:
                self._items.get_nowait()

    def answer(self, seconds: float) -> Answer:
        """The status and headers. Raises TryError (also after `seconds`) or SourceError."""
        item = self._next(seconds)
        if item is None:
            raise TryError(f"no answer within {seconds:g} s")
        assert isinstance(item, Answer)
        return item

    def chunk(self, seconds: float) -> bytes | None:
        """The next bytes, b"" at the end, None after `seconds` without any.

        Raises TryError where the connection breaks.
        """
        item = self._next(seconds)
        assert not isinstance(item, Answer)
        return item

    def _next(self, seconds: float) -> Answer | bytes | None:
        try:
            item = self._items.get(timeout=max(seconds, 0))
        except Empty:
            return None
        if isinstance(item, SourceError):
            raise item
        if isinstance(item, Exception):
            kind = SourceError if is_hopeless(item) else TryError
            raise kind(in_words(item)) from item
        return item

    def _read(self) -> None:
        try:
            with self._ask() as response:
                self._put(Answer(response.status_code, response.headers))
                while not self._left.is_set():
                    chunk = response.raw.read1(CHUNK, decode_content=False)
                    self._put(chunk or b"")
                    if not chunk:
                        break
        except (*NETWORK, SourceError) as error:
            self._put(error)

    def _put(self, item: Answer | bytes | Exception) -> None:
        while not self._left.is_set():
            with suppress(Full):
                self._items.put(item, timeout=0.2)
                return
