"""An HTTP server on loopback that misbehaves on command, one behaviour a request.

server.will(cut_after(1000), ignore_range)   # the first two requests; then it behaves
server.will_always(endless)
"""

import gzip
import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

ETAG = '"one"'
DATE = "Mon, 01 Jan 2024 00:00:00 GMT"
HANG_UP = (OSError, ssl.SSLError)


@dataclass
class Exchange:
    """One request to answer, and what it may be answered with."""

    handler: BaseHTTPRequestHandler
    server: "MisbehavingServer"

    @property
    def content(self) -> bytes:
        return self.server.content

    @property
    def start(self) -> int | None:
        """First byte of the range asked for."""
        match = re.fullmatch(r"bytes=(\d+)-", self.handler.headers.get("Range", ""))
        return int(match[1]) if match else None

    @property
    def is_same_file(self) -> bool:
        return self.handler.headers.get("If-Range") in (self.server.etag, DATE)

    def head(self, status: int, **headers: object) -> None:
        """Status line and headers; underscores in names stand for hyphens."""
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), str(value))
        self.handler.send_header("Connection", "close")
        self.handler.end_headers()

    def ranged(self, **changed: object) -> bytes:
        """The headers of an honest answer, the rest or the whole; returns the body to send."""
        size, start = len(self.content), self.start
        headers: dict[str, object] = {"ETag": self.server.etag}
        if start is None or not self.is_same_file or start >= size:
            start, status = 0, 200
        else:
            status = 206
            headers["Content_Range"] = f"bytes {start}-{size - 1}/{size}"
        self.head(status, **(headers | {"Content_Length": size - start} | changed))
        return self.content[start:]

    def write(self, body: bytes) -> None:
        self.handler.wfile.write(body)
        self.handler.wfile.flush()

    def write_chunk(self, body: bytes) -> None:
        """One chunk of a chunked body; an empty one ends it."""
        self.write(b"%x\r\n%s\r\n" % (len(body), body))

    def pause(self, seconds: float) -> None:
        if self.server.stopping.wait(seconds):
            raise ConnectionAbortedError

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        linger = struct.pack("ii", 1, 0)
        self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.handler.connection.close()


Behaviour = Callable[[Exchange], None]


@dataclass(frozen=True)
class Request:
    path: str
    host: str
    headers: dict[str, str]


@dataclass(repr=False)
class MisbehavingServer:
    content: bytes
    etag: str = ETAG
    scheme: str = "http"
    requests: list[Request] = field(default_factory=list)
    planned: list[Behaviour] = field(default_factory=list)
    otherwise: Behaviour = field(default_factory=lambda: well_behaved)
    stopping: Event = field(default_factory=Event)
    port: int = 0

    def will(self, *behaviours: Behaviour) -> None:
        self.planned += behaviours

    def will_always(self, behaviour: Behaviour) -> None:
        self.otherwise = behaviour

    def url(self, host: str = "127.0.0.1", path: str = "/checkpoint.zip") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of every request so far."""
        return [request.headers.get("Range") for request in self.requests]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        headers = dict(handler.headers.items())
        self.requests.append(Request(handler.path, headers.get("Host", ""), headers))
        behaviour = self.planned.pop(0) if self.planned else self.otherwise
        with suppress(*HANG_UP):
            behaviour(Exchange(handler, self))


@contextmanager
def serving(content: bytes, tls: ssl.SSLContext | None = None) -> Iterator[MisbehavingServer]:
    """A running server; everything it began ends with the block."""
    server = MisbehavingServer(content, scheme="https" if tls else "http")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.answer(self)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that leaves is part of every test."""

    with Quiet(("127.0.0.1", 0), Handler) as http:
        if tls:
            http.socket = tls.wrap_socket(
                http.socket, server_side=True, do_handshake_on_connect=False
            )
        server.port = http.server_address[1]
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.stopping.set()
        http.shutdown()
        thread.join()


def well_behaved(exchange: Exchange) -> None:
    """Range, If-Range, ETag, Content-Length."""
    exchange.write(exchange.ranged())


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
