"""Asking for the rest of a file, and judging what comes back (RFC 9110, sections 13 to 15)."""

import re
from http import HTTPStatus

from requests.structures import CaseInsensitiveDict

from megaport.fetch.errors import SourceError, TryError
from megaport.fetch.partial import Partial
from megaport.fetch.stream import Answer

CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
# Worth another try: the request timed out, came too early or too often, or the server is ill.
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


def range_headers(partial: Partial) -> dict[str, str]:
    """Headers that ask for what is missing; none where nothing is here or nothing vouches for it.

    If-Range makes the server send the whole file when it is no longer the one begun.
    """
    if not partial.size or not partial.validator:
        return {}
    return {"Range": f"bytes={partial.size}-", "If-Range": partial.validator}


def validator_of(headers: CaseInsensitiveDict[str]) -> str | None:
    """What If-Range may quote later: a strong ETag, else the date; None for an encoded body."""
    if headers.get("Content-Encoding", "identity") != "identity":
        return None
    etag = headers.get("ETag", "")
    return etag if etag.startswith('"') else headers.get("Last-Modified")


def check_status(answer: Answer, asked: dict[str, str], partial: Partial) -> None:
    """Return where a body follows that can be used: 200, or the range asked for.

    Raises TryError where another try makes sense, having dropped bytes that cannot be
    continued; SourceError where it does not.
    """
    if answer.status == HTTPStatus.OK:
        return
    if answer.status == HTTPStatus.PARTIAL_CONTENT and asked:
        _check_range(answer.headers, partial)
        return
    if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and asked:
        partial.restart()
        raise TryError("the rest is not to be had (416); starting again")
    if answer.status in TRANSIENT:
        raise TryError(status_text(answer.status), answer.headers.get("Retry-After"))
    raise SourceError(status_text(answer.status), answer.status)


def _check_range(headers: CaseInsensitiveDict[str], partial: Partial) -> None:
    match = CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    total = None if match is None or match[3] == "*" else int(match[3])
    continues = (
        match is not None
        and int(match[1]) == partial.size
        and (total is None or partial.total in (None, total))
        and _same_file(headers, partial)
    )
    if not continues:
        partial.restart()
        raise TryError("the rest does not continue what is here; starting again")
    partial.total = partial.total or total


def _same_file(headers: CaseInsensitiveDict[str], partial: Partial) -> bool:
    """A 206 repeats an ETag it has (section 15.3.7) but may leave out a date."""
    validator = validator_of(headers)
    by_date = not (partial.validator or "").startswith('"')
    return validator == partial.validator or (validator is None and by_date)


def status_text(status: int) -> str:
    """The number and the standard's words for it, never the server's own."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status}, which is no HTTP status"
