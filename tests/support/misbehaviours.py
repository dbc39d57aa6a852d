"""Ways to answer a request: each a short function of the Exchange it has to answer."""

import gzip
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from support.misbehaving_server import Behaviour, Exchange

Given = ParamSpec("Given")


def with_arguments(
    behave: Callable[Concatenate[Exchange, Given], None],
) -> Callable[Given, Behaviour]:
    """What `behave` is told beside the exchange is said first: `cut_after(1000)`."""

    @wraps(behave)
    def told(*arguments: Given.args, **named: Given.kwargs) -> Behaviour:
        return lambda exchange: behave(exchange, *arguments, **named)

    return told


@with_arguments
def body(exchange: Exchange, content: bytes, **headers: object) -> None:
    """Status 200 with this body."""
    exchange.head(200, **({"Content_Length": len(content)} | headers))
    exchange.write(content)


@with_arguments
def status(exchange: Exchange, code: int, **headers: object) -> None:
    """A status with a short body."""
    exchange.head(code, Content_Length=2, **headers)
    exchange.write(b"no")


# 200 and nothing, as NGC answered in 2021 (Megatron-LM issue 98).
empty = body(b"")
web_page = body(b"<!DOCTYPE html><title>Sign in</title>", Content_Type="text/html; charset=utf-8")


def without_validator(exchange: Exchange) -> None:
    body(exchange.content)(exchange)


def ignore_range(exchange: Exchange) -> None:
    body(exchange.content, ETag=exchange.server.etag)(exchange)


@with_arguments
def cut_after(exchange: Exchange, count: int) -> None:
    """Announce everything, send `count` bytes, close."""
    exchange.write(exchange.ranged()[:count])


@with_arguments
def cut_chunked_after(exchange: Exchange, count: int, chunk: int) -> None:
    """A chunked body without its last chunk."""
    exchange.head(200, Transfer_Encoding="chunked", ETag=exchange.server.etag)
    for at in range(0, count, chunk):
        exchange.write_chunk(exchange.content[at : min(at + chunk, count)])


@with_arguments
def reset_after(exchange: Exchange, count: int) -> None:
    """A connection reset in the middle of the body (after a moment, for the bytes to arrive)."""
    exchange.write(exchange.ranged()[:count])
    exchange.pause(0.05)
    exchange.reset()


@with_arguments
def hang_after(exchange: Exchange, count: int) -> None:
    """Silence with an open connection."""
    exchange.write(exchange.ranged()[:count])
    exchange.pause(60)


@with_arguments
def drip(exchange: Exchange, seconds: float) -> None:
    """A byte every now and then: each in time for a socket timeout, the whole never."""
    for byte in exchange.ranged():
        exchange.write(bytes([byte]))
        exchange.pause(seconds)


def drip_headers(exchange: Exchange) -> None:
    """Headers that never end."""
    exchange.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        exchange.write(b"a")
        exchange.pause(0.02)


def drip_chunk_sizes(exchange: Exchange) -> None:
    """A chunk extension that never ends."""
    exchange.head(200, Transfer_Encoding="chunked")
    exchange.write(b"4;x=")
    while True:
        exchange.write(b"a")
        exchange.pause(0.02)


@with_arguments
def flip_bit(exchange: Exchange, at: int) -> None:
    """The right size, one bit wrong."""
    wrong = bytearray(exchange.ranged())
    wrong[at] ^= 1
    exchange.write(bytes(wrong))


@with_arguments
def content_range(exchange: Exchange, value: str, **headers: object) -> None:
    """206 with a Content-Range of one's own; as many bytes as asked for, of no file at all."""
    lie = bytes(len(exchange.content) - (exchange.start or 0))
    fields = {"Content_Length": len(lie), "ETag": exchange.server.etag} | headers
    exchange.head(206, Content_Range=value, **fields)
    exchange.write(lie)


@with_arguments
def rest(exchange: Exchange, **headers: object) -> None:
    """206 with the rest that was asked for, whatever If-Range says, and other headers."""
    size, start = len(exchange.content), exchange.start or 0
    named = {"Content_Range": f"bytes {start}-{size - 1}/{size}"} | headers
    exchange.head(206, **({"Content_Length": size - start} | named))
    exchange.write(exchange.content[start:])


def endless(exchange: Exchange) -> None:
    """Zip-like bytes for ever."""
    exchange.head(200, Transfer_Encoding="chunked")
    while True:
        exchange.write_chunk(b"PK\x03\x04" * 4096)


def chunked(exchange: Exchange) -> None:
    exchange.head(200, Transfer_Encoding="chunked")
    for at in range(0, len(exchange.content), 700):
        exchange.write_chunk(exchange.content[at : at + 700])
    exchange.write_chunk(b"")


@with_arguments
def until_close_cut(exchange: Exchange, count: int | None) -> None:
    """As until_close, but something between closed the connection too early."""
    exchange.head(200)
    exchange.write(exchange.content[:count])


# Neither a length nor chunks: the closed connection is the end.
until_close = until_close_cut(None)


def gzipped(exchange: Exchange) -> None:
    """Compressed although identity was asked for."""
    packed = gzip.compress(exchange.content)
    body(packed, Content_Encoding="gzip", ETag='"gz"')(exchange)


@with_arguments
def gzipped_cut(exchange: Exchange, count: int) -> None:
    """A compressed body that ends early without saying so."""
    exchange.head(200, Content_Encoding="gzip")
    exchange.write(gzip.compress(exchange.content)[:count])


@with_arguments
def redirect(exchange: Exchange, location: str, code: int = 302) -> None:
    exchange.head(code, Location=location, Content_Length=0)


@with_arguments
def endless_redirect(exchange: Exchange, location: str) -> None:
    """A redirect whose body never ends."""
    exchange.head(302, Location=location, Transfer_Encoding="chunked")
    while True:
        exchange.write_chunk(b"." * 65536)
