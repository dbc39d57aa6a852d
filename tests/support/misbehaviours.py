"""Ways to answer a request: each a short function of the Exchange it has to answer."""

import gzip

from support.misbehaving_server import Behaviour, Exchange


def without_validator(exchange: Exchange) -> None:
    exchange.head(200, Content_Length=len(exchange.content))
    exchange.write(exchange.content)


def ignore_range(exchange: Exchange) -> None:
    exchange.head(200, Content_Length=len(exchange.content), ETag=exchange.server.etag)
    exchange.write(exchange.content)


def cut_after(count: int) -> Behaviour:
    """Announce everything, send `count` bytes, close."""

    def behave(exchange: Exchange) -> None:
        exchange.write(exchange.ranged()[:count])

    return behave


def cut_chunked_after(count: int, chunk: int) -> Behaviour:
    """A chunked body without its last chunk."""

    def behave(exchange: Exchange) -> None:
        exchange.head(200, Transfer_Encoding="chunked", ETag=exchange.server.etag)
        for at in range(0, count, chunk):
            exchange.write_chunk(exchange.content[at : min(at + chunk, count)])

    return behave


def reset_after(count: int) -> Behaviour:
    """A connection reset in the middle of the body (after a moment, for the bytes to arrive)."""

    def behave(exchange: Exchange) -> None:
        exchange.write(exchange.ranged()[:count])
        exchange.pause(0.05)
        exchange.reset()

    return behave


def hang_after(count: int) -> Behaviour:
    """Silence with an open connection."""

    def behave(exchange: Exchange) -> None:
        exchange.write(exchange.ranged()[:count])
        exchange.pause(60)

    return behave


def drip(seconds: float) -> Behaviour:
    """A byte every now and then: each in time for a socket timeout, the whole never."""

    def behave(exchange: Exchange) -> None:
        for byte in exchange.ranged():
            exchange.write(bytes([byte]))
            exchange.pause(seconds)

    return behave


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


def flip_bit(at: int) -> Behaviour:
    """The right size, one bit wrong."""

    def behave(exchange: Exchange) -> None:
        body = bytearray(exchange.ranged())
        body[at] ^= 1
        exchange.write(bytes(body))

    return behave


def empty(exchange: Exchange) -> None:
    """200 and nothing, as NGC answered in 2021 (Megatron-LM issue 98)."""
    exchange.head(200, Content_Length=0)


def web_page(exchange: Exchange) -> None:
    page = b"<!DOCTYPE html><title>Sign in</title>"
    exchange.head(200, Content_Length=len(page), Content_Type="text/html; charset=utf-8")
    exchange.write(page)


def body(content: bytes, **headers: object) -> Behaviour:
    """Status 200 with this body."""

    def behave(exchange: Exchange) -> None:
        exchange.head(200, **({"Content_Length": len(content)} | headers))
        exchange.write(content)

    return behave


def status(code: int, **headers: object) -> Behaviour:
    """A status with a short body."""

    def behave(exchange: Exchange) -> None:
        exchange.head(code, Content_Length=2, **headers)
        exchange.write(b"no")

    return behave


def content_range(value: str, **headers: object) -> Behaviour:
    """206 with a Content-Range of one's own; as many bytes as asked for, of no file at all."""

    def behave(exchange: Exchange) -> None:
        lie = bytes(len(exchange.content) - (exchange.start or 0))
        fields = {"Content_Length": len(lie), "ETag": exchange.server.etag} | headers
        exchange.head(206, Content_Range=value, **fields)
        exchange.write(lie)

    return behave


def rest(**headers: object) -> Behaviour:
    """206 with the rest that was asked for, whatever If-Range says, and other headers."""

    def behave(exchange: Exchange) -> None:
        size, start = len(exchange.content), exchange.start or 0
        named = {"Content_Range": f"bytes {start}-{size - 1}/{size}"} | headers
        exchange.head(206, **({"Content_Length": size - start} | named))
        exchange.write(exchange.content[start:])

    return behave


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


def until_close(exchange: Exchange) -> None:
    """Neither a length nor chunks: the closed connection is the end."""
    exchange.head(200)
    exchange.write(exchange.content)


def until_close_cut(count: int) -> Behaviour:
    """As until_close, but something between closed the connection too early."""

    def behave(exchange: Exchange) -> None:
        exchange.head(200)
        exchange.write(exchange.content[:count])

    return behave


def gzipped(exchange: Exchange) -> None:
    """Compressed although identity was asked for."""
    packed = gzip.compress(exchange.content)
    exchange.head(200, Content_Length=len(packed), Content_Encoding="gzip", ETag='"gz"')
    exchange.write(packed)


def gzipped_cut(count: int) -> Behaviour:
    """A compressed body that ends early without saying so."""

    def behave(exchange: Exchange) -> None:
        exchange.head(200, Content_Encoding="gzip")
        exchange.write(gzip.compress(exchange.content)[:count])

    return behave


def redirect(location: str, code: int = 302, body: bytes = b"") -> Behaviour:
    def behave(exchange: Exchange) -> None:
        exchange.head(code, Location=location, Content_Length=len(body))
        exchange.write(body)

    return behave


def endless_redirect(location: str) -> Behaviour:
    """A redirect whose body never ends."""

    def behave(exchange: Exchange) -> None:
        exchange.head(302, Location=location, Transfer_Encoding="chunked")
        while True:
            exchange.write_chunk(b"." * 65536)

    return behave
