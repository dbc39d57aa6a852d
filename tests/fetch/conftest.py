"""A server to download from, and limits that make waiting short."""

import hashlib
import random
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from megaport.fetch.download import Check, download
from megaport.fetch.partial import Partial
from megaport.fetch.progress import Progress
from megaport.fetch.response import Limits
from megaport.fetch.trust import check_pin
from support.misbehaving_server import HOSTS, KEY, MisbehavingServer, serving

CONTENT = b"PK\x03\x04" + random.Random(0).randbytes(39_996)
QUICK = Limits(
    max_bytes=200_000,
    max_seconds=10,
    retries=4,
    connect_seconds=2,
    read_seconds=2,
    answer_seconds=2,
    window_seconds=0.4,
    window_bytes=1000,
    progress_bytes=1000,
    backoff=0,
    retry_after_max=0,
)

Fetch = Callable[..., Partial]


def pinned(digest: str) -> Check:
    """What refuses a file of another digest."""

    def check(path: Path) -> None:
        seen = hashlib.sha256(path.read_bytes()).hexdigest()
        check_pin(seen, digest, "checkpoint.sha256")

    return check


class Notes(Progress):
    """Remembers what a user would have read."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        super().__init__(self.lines.append)


@pytest.fixture
def content() -> bytes:
    return CONTENT


@pytest.fixture
def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def server(content: bytes) -> Iterator[MisbehavingServer]:
    with serving(content) as running:
        yield running


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own keys only; no proxy between them and loopback."""
    for name in ("NGC_API_KEY", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "partial"


@pytest.fixture
def fetch(folder: Path) -> Fetch:
    """`download` with short limits; the partial files lie in `folder`."""

    def call(*sources: str, **options: object) -> Partial:
        found = download(sources, folder, **({"limits": QUICK} | options))
        assert isinstance(found, Partial)
        assert hashlib.sha256(found.path.read_bytes()).hexdigest() == found.sha256
        return found

    return call


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def loopback_names(monkeypatch: pytest.MonkeyPatch, authority: trustme.CA, tmp_path: Path) -> None:
    """NGC's names lead to loopback, and its certificate is one of ours; the key is set."""
    resolve = socket.getaddrinfo

    def pretend(host: Any, *rest: Any, **named: Any) -> Any:
        return resolve("127.0.0.1" if host in HOSTS else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", pretend)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("NGC_API_KEY", KEY)


@pytest.fixture
def secure(authority: trustme.CA, loopback_names: None) -> Iterator[MisbehavingServer]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*HOSTS).configure_cert(context)
    with serving(CONTENT, context) as running:
        yield running
