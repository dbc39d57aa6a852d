"""An HTTP server on loopback that misbehaves on command, one behaviour a request.

`server.will(cut_after(1000), ignore_range)` settles the first two requests, `server.will_always(
endless)` the others; without it they are answered well. The behaviours are in misbehaviours.py.
Over HTTPS it may pretend to be NGC, with a key of ours.
"""

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
KEY = "nvapi-Secret+Key/0123456789=="
NGC = "api.ngc.nvidia.com"
NGC_FILES = "files.ngc.nvidia.com"
MIRROR = "mirror.example"
HOSTS = (NGC, NGC_FILES, MIRROR, "localhost")


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
        self.requests.append(Request(handler.path, dict(handler.headers.items())))
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


def authorizations(*servers: MisbehavingServer) -> list[str | None]:
    return [
        request.headers.get("Authorization") for server in servers for request in server.requests
    ]
