"""Row "endless body; slow drip; connection reset; 429/503 with Retry-After": a clear end."""

import dataclasses
import time
from email.utils import formatdate

import pytest

from fetch.conftest import QUICK
from megaport.fetch.download import FetchError, fresh_retry, next_try
from megaport.fetch.response import TryError
from support import misbehaviours as bad


def test_endless_body(server, fetch, folder):
    server.will_always(bad.endless)
    with pytest.raises(FetchError, match="more than max_bytes 200,000"):
        fetch(server.url())
    assert len(server.requests) == 1
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("size", [200_001, 10**18, 10**40], ids=["1 over", "1 EB", "1e40"])
def test_announced_too_large(server, fetch, content, size):
    server.will_always(bad.body(content, Content_Length=size))
    with pytest.raises(FetchError, match=r"announces .* more than max_bytes 200,000"):
        fetch(server.url())


@pytest.mark.parametrize(
    "slow",
    [bad.drip(0.02), bad.drip_chunk_sizes, bad.hang_after(0)],
    ids=["body", "chunk sizes", "silence"],
)
def test_slow_drip_of_the_body(server, fetch, slow):
    server.will_always(slow)
    begun = time.monotonic()
    with pytest.raises(FetchError, match=r"too slow: .* bytes in 0.4 s"):
        fetch(server.url(), limits=dataclasses.replace(QUICK, retries=1))
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize(
    "slow", [bad.drip_headers, lambda exchange: exchange.pause(60)], ids=["drip", "silence"]
)
def test_slow_drip_of_the_headers(server, fetch, slow):
    server.will_always(slow)
    limits = dataclasses.replace(QUICK, retries=0, answer_seconds=0.3)
    with pytest.raises(FetchError, match=r"no answer within 0.3 s"):
        fetch(server.url(), limits=limits)


def test_slow_drip_over_tls(secure, fetch):
    secure.will_always(bad.drip_chunk_sizes)
    with pytest.raises(FetchError, match="too slow"):
        fetch(secure.url("localhost"), limits=dataclasses.replace(QUICK, retries=0))


def test_silence_is_cut_by_the_socket_too(server, fetch):
    server.will_always(bad.hang_after(0))
    limits = dataclasses.replace(QUICK, retries=0, read_seconds=0.2)
    with pytest.raises(FetchError, match="no byte in time"):
        fetch(server.url(), limits=limits)


def test_a_drip_that_recovers_is_resumed(server, fetch, digest):
    server.will(bad.hang_after(7000), bad.hang_after(7000))
    limits = dataclasses.replace(QUICK, window_bytes=8000)
    assert fetch(server.url(), limits=limits).sha256 == digest
    assert server.ranges == [None, "bytes=7000-", "bytes=14000-"]


def test_never_longer_than_max_seconds(server, fetch):
    server.will_always(bad.drip(0.01))
    limits = dataclasses.replace(QUICK, max_seconds=0.5, window_bytes=1)
    begun = time.monotonic()
    with pytest.raises(FetchError, match=r"not finished within 0.5 s"):
        fetch(server.url(), limits=limits)
    assert time.monotonic() - begun < 2


def test_connection_reset(server, fetch, digest):
    server.will(bad.reset_after(10_000), bad.reset_after(10_000))
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None, "bytes=10000-", "bytes=20000-"]


def test_a_server_that_hangs_up(server, fetch):
    server.will_always(lambda exchange: None)
    with pytest.raises(FetchError, match="hung up without an answer"):
        fetch(server.url())


def test_connection_refused(fetch):
    with pytest.raises(FetchError, match="Connection refused"):
        fetch("http://127.0.0.1:1/checkpoint.zip")


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server, fetch, digest, code):
    server.will(bad.status(code), bad.status(code))
    assert fetch(server.url()).sha256 == digest


@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_is_waited_for(server, fetch, digest, code):
    server.will(bad.status(code, Retry_After="1"))
    limits = dataclasses.replace(QUICK, retry_after_max=5)
    begun = time.monotonic()
    assert fetch(server.url(), limits=limits).sha256 == digest
    assert time.monotonic() - begun >= 1


def test_retry_after_past_the_deadline_is_an_end(server, fetch):
    server.will_always(bad.status(503, Retry_After="3600"))
    limits = dataclasses.replace(QUICK, retry_after_max=7200)
    with pytest.raises(FetchError, match=r"503 Service Unavailable .no time left."):
        fetch(server.url(), limits=limits)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("99999999999", 120),
        pytest.param("9" * 5000, 0, id="too many digits"),
        pytest.param(formatdate(time.time() + 3600, usegmt=True), 120, id="in an hour"),
        (formatdate(0, usegmt=True), 0),
        ("soon", 0),
        ("-1", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_retry_after_counts_up_to_a_cap(header, seconds):
    limits = dataclasses.replace(QUICK, retry_after_max=120)
    _, pause = next_try(fresh_retry(limits), TryError("busy", header), time.monotonic() + 1000)
    assert pause == seconds


def test_backoff_doubles_to_its_cap():
    retry = fresh_retry(dataclasses.replace(QUICK, backoff=1, backoff_max=4, retries=9))
    pauses = []
    for _ in range(5):
        retry, pause = next_try(retry, TryError("busy"), time.monotonic() + 1000)
        pauses.append(pause)
    assert pauses == [0, 2, 4, 4, 4]
