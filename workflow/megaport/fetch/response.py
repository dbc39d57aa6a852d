"""One response: asked for, then read, in bounded time and with reasons in words.

A socket's timeout bounds the wait for the next byte alone: a peer that drips its headers, its chunk
sizes or its body, or a name server that never answers, would hold a plain read for ever.
"""

import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import RemoteDisconnected
from threading import Event, Thread
from typing import TypeVar

import requests
from requests import Response
from urllib3 import exceptions as u

from megaport.fetch.credentials import MAX_REDIRECTS, CarefulSession, Secret
from megaport.fetch.sources import SourceError

CHUNK = 1 << 20  # bytes asked of the socket at once
NETWORK = (requests.RequestException, u.HTTPError, OSError, ValueError)
HOPELESS = (ssl.SSLCertVerificationError, u.LocationParseError, requests.exceptions.InvalidURL)
WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (requests.TooManyRedirects, f"more than {MAX_REDIRECTS} redirects"),
    (RemoteDisconnected, "it hung up without an answer"),
    (u.NameResolutionError, "the host name is not known"),
    (requests.ConnectTimeout, "no connection in time"),
    (u.ReadTimeoutError, "no byte in time"),
    (u.IncompleteRead, "cut before its end"),
    (u.DecodeError, "damaged compressed body"),
    (u.ProxyError, "the proxy failed"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
)
T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Bounds of one source; bytes and seconds. The first three are `download:` of config.yaml."""

    max_bytes: int
    max_seconds: float
    retries: int  # in a row without `progress_bytes` between them
    connect_seconds: float = 15
    read_seconds: float = 60  # between two bytes
    answer_seconds: float = 180  # from asking to the end of the headers, redirects included
    window_seconds: float = 60  # a body that brings less than window_bytes in it is too slow
    window_bytes: int = 1_000_000
    progress_bytes: int = 16_384
    backoff: float = 1  # seconds; doubles with every try
    backoff_max: float = 60
    retry_after_max: float = 120  # a server's Retry-After counts up to here


class TryError(Exception):
    """One try ended early; the same source may do better at the next."""

    def __init__(self, reason: str, retry_after: str | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


def ask(
    url: str, headers: dict[str, str], *, key: Secret | None, limits: Limits, seconds: float
) -> Response:
    """The response at the end of the redirects, its body unread. Raises TryError, SourceError."""

    def get() -> Response:
        return CarefulSession(url, key).get(
            url,
            headers={"User-Agent": "megaport", "Accept-Encoding": "identity", **headers},
            timeout=(limits.connect_seconds, limits.read_seconds),
            stream=True,
        )

    try:
        return _within(seconds, get)
    except NETWORK as error:
        raise _in_words(error) from error


def body(response: Response, limits: Limits, deadline: float) -> Iterator[bytes]:
    """The file's bytes as they come, decompressed where they were compressed.

    Raises TryError where the connection breaks, the bytes come too slowly, or at the deadline.
    """
    watch = _Watch(response, limits, deadline)
    Thread(target=watch.run, daemon=True, name="download watch").start()
    try:
        while chunk := response.raw.read1(CHUNK, decode_content=True):
            watch.received += len(chunk)
            yield chunk
    except NETWORK as error:
        raise watch.fault or _in_words(error) from error
    finally:
        watch.over.set()
    if watch.fault:
        raise watch.fault


@dataclass
class _Watch:
    """Counts bytes against `window_bytes` a window and against the deadline."""

    response: Response
    limits: Limits
    deadline: float
    received: int = 0
    fault: TryError | None = None
    over: Event = field(default_factory=Event)

    def run(self) -> None:
        """Shut the connection once there is a fault: that wakes who reads from it."""
        while not self.fault:
            before = self.received
            left = self.deadline - time.monotonic()
            if self.over.wait(max(0, min(left, self.limits.window_seconds))):
                return
            self.fault = self._judge(self.received - before)
        with suppress(RuntimeError, ValueError, OSError):
            self.response.raw.shutdown()

    def _judge(self, received: int) -> TryError | None:
        if time.monotonic() >= self.deadline:
            return TryError(f"not finished within {self.limits.max_seconds:g} s")
        if received < self.limits.window_bytes:
            return TryError(f"too slow: {received:,} bytes in {self.limits.window_seconds:g} s")
        return None


def _within(seconds: float, call: Callable[[], T]) -> T:
    """What `call` returns or raises; TryError after `seconds`: its thread is then left behind."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)

    Thread(target=work, daemon=True, name="download").start()
    try:
        return future.result(max(seconds, 0))
    except TimeoutError:
        if future.done():
            raise
        raise TryError(f"no answer within {seconds:g} s") from None


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what it wraps: causes, contexts, and exceptions among the arguments."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            waiting += [getattr(item, "reason", None), item.__cause__, item.__context__, *item.args]
    return found


def _in_words(error: BaseException) -> TryError | SourceError:
    """A network failure by its innermost cause, without addresses or queries."""
    chain = _causes(error)
    kind = SourceError if any(isinstance(item, HOPELESS) for item in chain) else TryError
    for cause, words in WORDS:
        if any(isinstance(item, cause) for item in chain):
            return kind(words)
    system = [item.strerror for item in chain if isinstance(item, OSError) and item.strerror]
    return kind(system[-1] if system else f"not valid HTTP ({type(chain[-1]).__name__})")
