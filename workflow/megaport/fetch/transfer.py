"""One try at one URL: ask for what is missing, append it, and see whether it is all."""

import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

from megaport.fetch.content import checked
from megaport.fetch.credentials import Secret
from megaport.fetch.decode import decoded
from megaport.fetch.errors import SourceError, TryError
from megaport.fetch.limits import Limits
from megaport.fetch.pace import Pace
from megaport.fetch.partial import Partial
from megaport.fetch.progress import Progress
from megaport.fetch.ranges import check_status, range_headers, validator_of
from megaport.fetch.session import ask
from megaport.fetch.stream import Answer, Stream


@dataclass
class Transfer:
    """One URL on its way into one partial file."""

    url: str
    partial: Partial
    limits: Limits
    key: Secret | None
    progress: Progress
    deadline: float  # of time.monotonic
    last_end: tuple[int, str] | None = None  # size and digest at an end that nothing announced

    def attempt(self) -> None:
        """Bring the partial file to its end and mark it complete.

        Raises TryError where another try makes sense, SourceError where it does not.
        """
        asked = range_headers(self.partial)
        with Stream(lambda: ask(self.url, asked, key=self.key, limits=self.limits)) as stream:
            answer = stream.answer(min(self.limits.answer_seconds, self._remaining()))
            check_status(answer, asked, self.partial)
            self._receive(answer, stream)
        self._check_end(answer)
        self.partial.finish()

    def _remaining(self) -> float:
        return self.deadline - time.monotonic()

    def _receive(self, answer: Answer, stream: Stream) -> None:
        body = decoded(self._chunks(stream), answer.headers.get("Content-Encoding", ""))
        if answer.status == 200:
            body = checked(body, answer.headers.get("Content-Type", ""))
            self._begin(answer)
        self.progress.begin(self.partial.size, self.partial.total)
        for chunk in body:
            self._check_bound(self.partial.size + len(chunk))
            self.partial.append(chunk)
            self.progress.advance(len(chunk))

    def _begin(self, answer: Answer) -> None:
        """A whole body follows: drop what is here."""
        total, most = announced(answer), self.limits.max_bytes
        if total is not None and total > most:
            raise SourceError(f"announces {total:,} bytes, more than max_bytes {most:,}")
        validator = validator_of(answer.headers)
        if validator and self.key and self.key.scrub(validator) != validator:
            validator = None  # a server that echoes the key must not bring it into the journal
        self.partial.restart(validator, total)

    def _chunks(self, stream: Stream) -> Iterator[bytes]:
        pace = Pace(self.limits, self.deadline)
        while (chunk := stream.chunk(pace.patience())) != b"":
            pace.count(len(chunk or b""))
            if chunk:
                yield chunk

    def _check_bound(self, size: int) -> None:
        if self.partial.total is not None and size > self.partial.total:
            self.partial.restart()
            raise TryError("more bytes than announced")
        if size > self.limits.max_bytes:
            self.partial.restart()
            raise SourceError(f"more than max_bytes {self.limits.max_bytes:,}, and no end in sight")

    def _check_end(self, answer: Answer) -> None:
        size, total = self.partial.size, self.partial.total
        if total is not None and size < total:
            raise TryError(f"cut at {size:,} of {total:,} bytes")
        if total is None and not _marks_its_end(answer) and not self._seems_whole():
            raise TryError("an end that nothing announced; asking again to compare")

    def _seems_whole(self) -> bool:
        """Whether a body that only the closed connection ended is whole.

        A zip says so itself; anything else is believed when a second try ends at the same byte.
        """
        self.partial.save()
        end = (self.partial.size, self.partial.sha256)
        before, self.last_end = self.last_end, end
        return end == before or zipfile.is_zipfile(self.partial.path)


def announced(answer: Answer) -> int | None:
    """The file's size where the headers tell: the length of a body that is not encoded."""
    length = answer.headers.get("Content-Length", "")
    if "Content-Encoding" in answer.headers or not (length.isascii() and length.isdigit()):
        return None
    return int(length) if len(length) < 19 else sys.maxsize


def _marks_its_end(answer: Answer) -> bool:
    """Chunked and compressed bodies carry their own end; being cut shows."""
    chunked = "chunked" in answer.headers.get("Transfer-Encoding", "").lower()
    return chunked or "Content-Encoding" in answer.headers
