"""Row "server ignores Range (200), wrong Content-Range, 416, ETag changed between tries": from
zero, same digest."""

import hashlib

import pytest

from megaport.fetch.download import FetchError
from support import misbehaviours as bad
from support.misbehaving_server import (
    DATE,
    ETAG,
    serving,
    well_behaved,
)


def test_server_ignores_range(server, fetch, digest):
    server.will(bad.cut_after(20_000), bad.ignore_range)
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None, "bytes=20000-"]


@pytest.mark.parametrize(
    "answer",
    [
        bad.content_range("bytes 0-39999/40000"),
        bad.content_range("bytes 19999-39999/40000"),
        bad.content_range("bytes 20001-39999/40000"),
        bad.content_range("bytes 20000-39999/50000"),
        bad.content_range("bytes */40000"),
        bad.content_range("20000-39999/40000"),
        bad.content_range("bytes 20000-39999/40000", ETag='"other"'),
        bad.content_range("bytes 20000-39999/40000", ETag='W/"one"'),
        bad.content_range("bytes 20000-39999/40000", ETag=""),
        bad.content_range("bytes 20000-39999/40000", Content_Encoding="gzip"),
        bad.status(416, Content_Range="bytes */40000"),
        bad.status(416),
    ],
    ids=[
        "Content-Range from zero",
        "Content-Range a byte back",
        "Content-Range a byte on",
        "Content-Range of another size",
        "Content-Range unsatisfied",
        "Content-Range without unit",
        "206 with another ETag",
        "206 with a weak ETag",
        "206 without its ETag",
        "206 in another encoding",
        "416 with size",
        "416",
    ],
)
def test_wrong_content_range_or_416_restarts_from_zero(server, fetch, digest, answer):
    """The bytes of these answers are wrong: taking any of them gives another digest."""
    server.will(bad.cut_after(20_000), answer)
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None, "bytes=20000-", None]


def test_etag_changed_between_tries(fetch):
    """The new file, whole; not the old one's beginning with the new one's end."""
    new = b"PK\x05\x06" + bytes(29_996)
    with serving(b"PK\x03\x04" + b"old." * 9_999) as server:
        server.will(bad.cut_after(20_000))

        def replaced(exchange):
            server.content, server.etag = new, '"two"'
            well_behaved(exchange)

        server.will(replaced)
        assert fetch(server.url()).sha256 == hashlib.sha256(new).hexdigest()


def test_without_a_validator_nothing_is_continued(server, fetch, digest, content):
    server.will(bad.body(content[:20_000], Content_Length=40_000))
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None, None]


def test_a_date_serves_where_there_is_no_strong_etag(server, fetch, digest, content):
    cut = bad.body(content[:20_000], Content_Length=40_000, Last_Modified=DATE, ETag='W/"weak"')
    server.will(cut, bad.rest())
    assert fetch(server.url()).sha256 == digest
    assert server.requests[1].headers["If-Range"] == DATE


def test_another_date_is_another_file(server, fetch, digest, content):
    server.will(
        bad.body(content[:20_000], Content_Length=40_000, Last_Modified=DATE),
        bad.content_range(
            "bytes 20000-39999/40000", ETag="", Last_Modified=DATE.replace("2024", "2025")
        ),
    )
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None, "bytes=20000-", None]


def test_a_range_nobody_asked_for(server, fetch):
    server.will_always(bad.content_range("bytes 0-39999/40000"))
    with pytest.raises(FetchError, match="206 Partial Content"):
        fetch(server.url())


def test_a_rest_longer_than_the_file(server, fetch, digest, content):
    def long_rest(exchange):
        exchange.head(
            206,
            ETag=ETAG,
            Content_Range="bytes 20000-39999/40000",
            Transfer_Encoding="chunked",
        )
        exchange.write_chunk(content[20_000:] + b"more")
        exchange.write_chunk(b"")

    server.will(bad.cut_after(20_000), long_rest)
    assert fetch(server.url()).sha256 == digest


def test_a_rest_that_is_only_a_part_of_the_rest(server, fetch, digest, content):
    def some_of_it(exchange):
        exchange.head(
            206, ETag=ETAG, Content_Range="bytes 20000-29999/40000", Content_Length=10_000
        )
        exchange.write(content[20_000:30_000])

    server.will(bad.cut_after(20_000), some_of_it)
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None, "bytes=20000-", "bytes=30000-"]


def test_a_rest_of_unknown_total(server, fetch, digest):
    unknown = bad.rest(Content_Range="bytes 20000-39999/*", ETag=ETAG)
    server.will(bad.cut_after(20_000), unknown)
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None, "bytes=20000-"]
