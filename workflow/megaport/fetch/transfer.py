"""One try at one URL: ask for what is missing, append it, and see whether it is all.

What a server may answer is in RFC 9110, sections 13 to 15.
"""

import re
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain

from requests import Response

from megaport.fetch.credentials import Secret
from megaport.fetch.partial import Partial
from megaport.fetch.progress import Progress
from megaport.fetch.response import Limits, TryError, ask, body
from megaport.fetch.sources import SourceError

CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
# Worth another try: the request timed out, came too early or too often, or the server is ill.
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
DECODED = ("", "identity", "gzip", "x-gzip", "deflate")
# A zip (NGC's archive, a .pt of torch 1.6 and later), or a pickle (torch's legacy serialization).
MAGIC = (b"PK", b"\x80")
ENOUGH = 4  # bytes to tell


@dataclass
class Transfer:
    """One URL on its way into one partial file."""

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
        seconds = min(self.limits.answer_seconds, self.deadline - time.monotonic())
        url = self.partial.url
        with ask(url, asked, key=self.key, limits=self.limits, seconds=seconds) as response:
            check_status(response, asked, self.partial)
            self._receive(response)
        self._check_end(response)
        self.partial.finish()

    def _receive(self, response: Response) -> None:
        chunks = body(response, self.limits, self.deadline)
        if _encoding(response) not in DECODED:
            raise SourceError("sends an encoding not asked for that is neither gzip nor deflate")
        if response.status_code == HTTPStatus.OK:
            chunks = checked(chunks, response.headers.get("Content-Type", ""))
            self._begin(response)
        self.progress.begin(self.partial.size, self.partial.total)
        for chunk in chunks:
            self._check_bound(self.partial.size + len(chunk))
            self.partial.append(chunk)
            self.progress.advance(len(chunk))

    def _begin(self, response: Response) -> None:
        """A whole body follows: drop what is here."""
        total, most = _announced(response), self.limits.max_bytes
        if total is not None and total > most:
            raise SourceError(f"announces {total:,} bytes, more than max_bytes {most:,}")
        validator = validator_of(response)
        if validator and self.key and self.key.scrub(validator) != validator:
            validator = None  # a server that echoes the key must not bring it into a file
        self.partial.restart(validator, total)

    def _check_bound(self, size: int) -> None:
        if self.partial.total is not None and size > self.partial.total:
            self.partial.restart()
            raise TryError("more bytes than announced")
        if size > self.limits.max_bytes:
            self.partial.restart()
            raise SourceError(f"more than max_bytes {self.limits.max_bytes:,}, and no end in sight")

    def _check_end(self, response: Response) -> None:
        size, total = self.partial.size, self.partial.total
        if total is not None and size < total:
            raise TryError(f"cut at {size:,} of {total:,} bytes")
        if total is None and not _marks_its_end(response) and not self._seems_whole():
            raise TryError("an end that nothing announced; asking again to compare")

    def _seems_whole(self) -> bool:
        """Whether a body that only the closed connection ended is whole.

        A zip says so itself; anything else is believed when a second try ends at the same byte.
        """
        end = (self.partial.size, self.partial.sha256)
        before, self.last_end = self.last_end, end
        return end == before or zipfile.is_zipfile(self.partial.path)


def range_headers(partial: Partial) -> dict[str, str]:
    """Headers that ask for what is missing; none where nothing is here or nothing vouches for it.

    If-Range makes the server send the whole file when it is no longer the one begun.
    """
    if not partial.size or not partial.validator:
        return {}
    return {"Range": f"bytes={partial.size}-", "If-Range": partial.validator}


def validator_of(response: Response) -> str | None:
    """What If-Range may quote later: a strong ETag, else the date; None for an encoded body."""
    if _encoding(response) not in ("", "identity"):
        return None
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def check_status(response: Response, asked: dict[str, str], partial: Partial) -> None:
    """Return where a body follows that can be used: 200, or the range asked for.

    Raises TryError where another try makes sense, having dropped bytes that cannot be
    continued; SourceError where it does not.
    """
    status = response.status_code
    if status == HTTPStatus.OK:
        return
    if status == HTTPStatus.PARTIAL_CONTENT and asked:
        _check_range(response, partial)
    elif status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and asked:
        partial.restart()
        raise TryError("the rest is not to be had (416); starting again")
    elif status in TRANSIENT:
        raise TryError(_status_text(status), response.headers.get("Retry-After"))
    else:
        raise SourceError(_status_text(status), status)


def _check_range(response: Response, partial: Partial) -> None:
    match = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    total = None if match is None or match[3] == "*" else int(match[3])
    continues = (
        match is not None
        and int(match[1]) == partial.size
        and (total is None or partial.total in (None, total))
        and _is_same_file(response, partial)
    )
    if not continues:
        partial.restart()
        raise TryError("the rest does not continue what is here; starting again")
    partial.total = partial.total or total


def _is_same_file(response: Response, partial: Partial) -> bool:
    """A 206 repeats an ETag it has (section 15.3.7) but may leave out a date."""
    validator = validator_of(response)
    by_date = not (partial.validator or "").startswith('"')
    return validator == partial.validator or (validator is None and by_date)


def checked(chunks: Iterator[bytes], content_type: str) -> Iterator[bytes]:
    """The same bytes, once the first of them are those of a zip or a torch file.

    Web pages also come with status 200. Raises SourceError where they are something else, TryError
    where there are none, before giving any out.
    """
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= ENOUGH:
            break
    if not head:
        raise TryError("an empty body with status 200")
    if head.startswith(MAGIC):
        return chain([head], chunks)
    if "html" in content_type.lower() or head.lstrip().startswith(b"<"):
        raise SourceError("a web page instead of the file")
    start = head[:ENOUGH].hex(" ")
    raise SourceError(f"neither a zip nor a torch file (starts with the bytes {start})")


def _encoding(response: Response) -> str:
    return response.headers.get("Content-Encoding", "").strip().lower()


def _announced(response: Response) -> int | None:
    """The file's size where the headers tell: the length of a body that is not encoded."""
    length = response.headers.get("Content-Length", "")
    if _encoding(response) or not (length.isascii() and length.isdigit()):
        return None
    return int(length) if len(length) < 19 else sys.maxsize


def _marks_its_end(response: Response) -> bool:
    """Chunked bodies and those of a known length show being cut."""
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    return chunked or "Content-Length" in response.headers


def _status_text(status: int) -> str:
    """The number and the standard's words for it, never the server's own."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status}, which is no HTTP status"
