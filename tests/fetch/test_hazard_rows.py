"""The download table of hazards, a row after the other, each as an attack."""

import dataclasses
import gzip
import hashlib
import time
import zipfile
import zlib
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest

from fetch.conftest import QUICK, Fetch, Notes
from megaport.fetch.checksum import check_content
from megaport.fetch.errors import FetchError, TryError
from megaport.fetch.retries import fresh_retry, next_try
from support import misbehaving_server as bad
from support.misbehaving_server import MisbehavingServer, serving


class TestNextSource:
    """404, 403, 410, or an HTML page with status 200: next source in the list."""

    @pytest.mark.parametrize(
        "answer",
        [bad.status(404), bad.status(403), bad.status(401), bad.status(410), bad.web_page],
        ids=["404", "403", "401", "410", "html"],
    )
    def test_next_source_in_the_list(
        self, server: MisbehavingServer, fetch: Fetch, digest: str, answer: bad.Behaviour
    ) -> None:
        server.will(answer)
        assert fetch(server.url(path="/first"), server.url(path="/second")).sha256 == digest
        assert [request.path for request in server.requests] == ["/first", "/second"]

    def test_after_the_last_one_error_names_every_url_with_its_reason(
        self, server: MisbehavingServer, fetch: Fetch
    ) -> None:
        server.will(bad.status(404), bad.status(403), bad.status(410), bad.web_page)
        urls = [server.url(path=f"/{number}") for number in range(4)]
        with pytest.raises(FetchError) as failure:
            fetch(*urls)
        text = str(failure.value)
        for url, reason in zip(
            urls, ["404 Not Found", "403 Forbidden", "410 Gone", "a web page"], strict=True
        ):
            assert f"{url}: {reason}" in text
        for way_out in ("checkpoint: {path: FILE}", "file://", "NGC_API_KEY"):
            assert way_out in text

    @pytest.mark.parametrize(
        ("page", "reason"),
        [
            (b"\n  <html>", "web page"),
            (b'{"error": "gone"}', "neither a zip nor a torch file (starts with the bytes 7b 22"),
            (b"Z", "neither"),
        ],
    )
    def test_anything_else_with_status_200(
        self, server: MisbehavingServer, fetch: Fetch, page: bytes, reason: str
    ) -> None:
        server.will_always(bad.body(page))
        with pytest.raises(FetchError, match=r"neither|web page") as failure:
            fetch(server.url())
        assert reason in str(failure.value)
        assert len(server.requests) == 1

    def test_a_checkpoint_that_calls_itself_html_is_taken(
        self, server: MisbehavingServer, fetch: Fetch, content: bytes, digest: str
    ) -> None:
        server.will(bad.body(content, Content_Type="text/html"))
        assert fetch(server.url()).sha256 == digest

    def test_a_legacy_torch_file_is_taken(self, server: MisbehavingServer, fetch: Fetch) -> None:
        server.content = b"\x80\x02\x8a\x0a" + bytes(500)
        assert fetch(server.url()).size == 504

    def test_a_web_page_does_not_cost_what_is_here(
        self, server: MisbehavingServer, fetch: Fetch, digest: str
    ) -> None:
        """A hotel's sign-in page between two runs."""
        server.will(bad.cut_after(20_000), bad.web_page)
        with pytest.raises(FetchError):
            fetch(server.url())
        assert fetch(server.url()).sha256 == digest
        assert server.ranges == [None, "bytes=20000-", "bytes=20000-"]

    def test_what_an_earlier_source_left_is_removed_after_success(
        self, server: MisbehavingServer, fetch: Fetch, folder: Path
    ) -> None:
        server.will(bad.cut_after(20_000), bad.status(404))
        found = fetch(server.url(path="/first"), server.url(path="/second"))
        assert {path.name for path in folder.iterdir()} == {
            found.path.name,
            found.path.name + ".json",
        }


class TestShortBodies:
    """Status 200 with 0 bytes; fewer bytes than Content-Length: never published short."""

    def test_status_200_with_0_bytes(
        self, server: MisbehavingServer, fetch: Fetch, digest: str
    ) -> None:
        server.will(bad.empty, bad.empty)
        assert fetch(server.url()).sha256 == digest

    def test_always_0_bytes_ends_with_the_reason(
        self, server: MisbehavingServer, fetch: Fetch, folder: Path
    ) -> None:
        server.will_always(bad.empty)
        with pytest.raises(FetchError, match="an empty body with status 200"):
            fetch(server.url())
        assert len(server.requests) == 1 + QUICK.retries
        assert list(folder.iterdir()) == []

    def test_fewer_bytes_than_content_length(
        self, server: MisbehavingServer, fetch: Fetch, digest: str
    ) -> None:
        server.will(bad.cut_after(15_000))
        assert fetch(server.url()).sha256 == digest
        assert server.ranges == [None, "bytes=15000-"]

    def test_always_fewer_bytes_is_an_end_and_is_kept_for_the_next_run(
        self, server: MisbehavingServer, fetch: Fetch, digest: str
    ) -> None:
        server.will(bad.cut_after(15_000), *[bad.cut_after(0)] * 4)
        with pytest.raises(FetchError, match=r"cut before its end .no tries left."):
            fetch(server.url())
        assert fetch(server.url()).sha256 == digest
        assert server.ranges[-1] == "bytes=15000-"

    def test_progress_gives_new_tries(
        self, server: MisbehavingServer, fetch: Fetch, digest: str
    ) -> None:
        """Forty connections of 1000 bytes each are slow, not hopeless."""
        server.will_always(bad.cut_after(1000))
        assert fetch(server.url()).sha256 == digest
        assert len(server.requests) == 40


class TestRestarts:
    """Server ignores Range, wrong Content-Range, 416, ETag changed: from zero, same digest."""

    def test_server_ignores_range(
        self, server: MisbehavingServer, fetch: Fetch, digest: str
    ) -> None:
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
    def test_restarts_from_zero(
        self, server: MisbehavingServer, fetch: Fetch, digest: str, answer: bad.Behaviour
    ) -> None:
        """The bytes of these answers are wrong: taking any of them gives another digest."""
        server.will(bad.cut_after(20_000), answer)
        assert fetch(server.url()).sha256 == digest
        assert server.ranges == [None, "bytes=20000-", None]

    def test_etag_changed_between_tries(self, fetch: Fetch) -> None:
        """The new file, whole; not the old one's beginning with the new one's end."""
        new = b"PK\x05\x06" + bytes(29_996)
        with serving(b"PK\x03\x04" + b"old." * 9_999) as server:
            server.will(bad.cut_after(20_000))

            def replaced(exchange: bad.Exchange) -> None:
                server.content, server.etag = new, '"two"'
                bad.well_behaved(exchange)

            server.will(replaced)
            assert fetch(server.url()).sha256 == hashlib.sha256(new).hexdigest()

    def test_without_a_validator_nothing_is_continued(
        self, server: MisbehavingServer, fetch: Fetch, digest: str, content: bytes
    ) -> None:
        server.will(bad.body(content[:20_000], Content_Length=40_000))
        assert fetch(server.url()).sha256 == digest
        assert server.ranges == [None, None]

    def test_a_date_serves_where_there_is_no_strong_etag(
        self, server: MisbehavingServer, fetch: Fetch, digest: str, content: bytes
    ) -> None:
        cut = bad.body(
            content[:20_000], Content_Length=40_000, Last_Modified=bad.DATE, ETag='W/"weak"'
        )
        server.will(cut, bad.rest())
        assert fetch(server.url()).sha256 == digest
        assert server.requests[1].headers["If-Range"] == bad.DATE

    def test_another_date_is_another_file(
        self, server: MisbehavingServer, fetch: Fetch, digest: str, content: bytes
    ) -> None:
        server.will(
            bad.body(content[:20_000], Content_Length=40_000, Last_Modified=bad.DATE),
            bad.content_range(
                "bytes 20000-39999/40000", ETag="", Last_Modified=bad.DATE.replace("2024", "2025")
            ),
        )
        assert fetch(server.url()).sha256 == digest
        assert server.ranges == [None, "bytes=20000-", None]

    def test_a_range_nobody_asked_for(self, server: MisbehavingServer, fetch: Fetch) -> None:
        server.will_always(bad.content_range("bytes 0-39999/40000"))
        with pytest.raises(FetchError, match="206 Partial Content"):
            fetch(server.url())

    def test_a_rest_longer_than_the_file(
        self, server: MisbehavingServer, fetch: Fetch, digest: str, content: bytes
    ) -> None:
        def long_rest(exchange: bad.Exchange) -> None:
            exchange.head(
                206,
                ETag=bad.ETAG,
                Content_Range="bytes 20000-39999/40000",
                Transfer_Encoding="chunked",
            )
            exchange.write_chunk(content[20_000:] + b"more")
            exchange.write_chunk(b"")

        server.will(bad.cut_after(20_000), long_rest)
        assert fetch(server.url()).sha256 == digest

    def test_a_rest_that_is_only_a_part_of_the_rest(
        self, server: MisbehavingServer, fetch: Fetch, digest: str, content: bytes
    ) -> None:
        def some_of_it(exchange: bad.Exchange) -> None:
            exchange.head(
                206, ETag=bad.ETAG, Content_Range="bytes 20000-29999/40000", Content_Length=10_000
            )
            exchange.write(content[20_000:30_000])

        server.will(bad.cut_after(20_000), some_of_it)
        assert fetch(server.url()).sha256 == digest
        assert server.ranges == [None, "bytes=20000-", "bytes=30000-"]

    def test_a_rest_of_unknown_total(
        self, server: MisbehavingServer, fetch: Fetch, digest: str
    ) -> None:
        unknown = bad.rest(Content_Range="bytes 20000-39999/*", ETag=bad.ETAG)
        server.will(bad.cut_after(20_000), unknown)
        assert fetch(server.url()).sha256 == digest
        assert server.ranges == [None, "bytes=20000-"]


class TestFlippedBit:
    """Right size, one flipped bit: digest error naming both; the partial file is removed."""

    def test_names_both_digests_and_removes_the_file(
        self, server: MisbehavingServer, fetch: Fetch, digest: str, folder: Path
    ) -> None:
        server.will_always(bad.flip_bit(30_000))
        seen = bytearray(server.content)
        seen[30_000] ^= 1
        with pytest.raises(FetchError) as failure:
            fetch(server.url(), check=pinned(digest))
        assert digest in str(failure.value)
        assert hashlib.sha256(seen).hexdigest() in str(failure.value)
        assert list(folder.iterdir()) == []

    def test_the_next_source_may_have_the_right_bytes(
        self, server: MisbehavingServer, fetch: Fetch, digest: str
    ) -> None:
        server.will(bad.flip_bit(30_000))
        urls = [server.url(path="/bad"), server.url(path="/good")]
        assert fetch(*urls, check=pinned(digest)).url == urls[1]


def pinned(digest: str) -> Callable[[Path], None]:
    def check(path: Path) -> None:
        seen = hashlib.sha256(path.read_bytes()).hexdigest()
        check_content({path.name: seen}, pinned=digest, trusted=None)

    return check


class TestBounds:
    """Endless body; slow drip; connection reset; 429/503 with Retry-After: a clear end."""

    def test_endless_body(self, server: MisbehavingServer, fetch: Fetch, folder: Path) -> None:
        server.will_always(bad.endless)
        with pytest.raises(FetchError, match="more than max_bytes 200,000"):
            fetch(server.url())
        assert len(server.requests) == 1
        assert list(folder.iterdir()) == []

    @pytest.mark.parametrize("size", [200_001, 10**18, 10**40], ids=["1 over", "1 EB", "1e40"])
    def test_announced_too_large(
        self, server: MisbehavingServer, fetch: Fetch, content: bytes, size: int
    ) -> None:
        server.will_always(bad.body(content, Content_Length=size))
        with pytest.raises(FetchError, match=r"announces .* more than max_bytes 200,000"):
            fetch(server.url())

    @pytest.mark.parametrize(
        "slow",
        [bad.drip(0.02), bad.drip_chunk_sizes, bad.hang_after(0)],
        ids=["body", "chunk sizes", "silence"],
    )
    def test_slow_drip_of_the_body(
        self, server: MisbehavingServer, fetch: Fetch, slow: bad.Behaviour
    ) -> None:
        server.will_always(slow)
        begun = time.monotonic()
        with pytest.raises(FetchError, match=r"too slow: .* bytes in 0.4 s"):
            fetch(server.url(), limits=dataclasses.replace(QUICK, retries=1))
        assert time.monotonic() - begun < 3

    @pytest.mark.parametrize(
        "slow", [bad.drip_headers, lambda exchange: exchange.pause(60)], ids=["drip", "silence"]
    )
    def test_slow_drip_of_the_headers(
        self, server: MisbehavingServer, fetch: Fetch, slow: bad.Behaviour
    ) -> None:
        server.will_always(slow)
        limits = dataclasses.replace(QUICK, retries=0, answer_seconds=0.3)
        with pytest.raises(FetchError, match=r"no answer within 0.3 s"):
            fetch(server.url(), limits=limits)

    def test_silence_is_cut_by_the_socket_too(
        self, server: MisbehavingServer, fetch: Fetch
    ) -> None:
        server.will_always(bad.hang_after(0))
        limits = dataclasses.replace(QUICK, retries=0, read_seconds=0.2)
        with pytest.raises(FetchError, match="no byte in time"):
            fetch(server.url(), limits=limits)

    def test_a_drip_that_recovers_is_resumed(
        self, server: MisbehavingServer, fetch: Fetch, digest: str
    ) -> None:
        server.will(bad.hang_after(7000), bad.hang_after(7000))
        limits = dataclasses.replace(QUICK, window_bytes=8000)
        assert fetch(server.url(), limits=limits).sha256 == digest
        assert server.ranges == [None, "bytes=7000-", "bytes=14000-"]

    def test_never_longer_than_max_seconds(self, server: MisbehavingServer, fetch: Fetch) -> None:
        server.will_always(bad.drip(0.01))
        limits = dataclasses.replace(QUICK, max_seconds=0.5, window_bytes=1)
        begun = time.monotonic()
        with pytest.raises(FetchError, match=r"not finished within 0.5 s"):
            fetch(server.url(), limits=limits)
        assert time.monotonic() - begun < 2

    def test_connection_reset(self, server: MisbehavingServer, fetch: Fetch, digest: str) -> None:
        server.will(bad.reset_after(10_000), bad.reset_after(10_000))
        assert fetch(server.url()).sha256 == digest
        assert server.ranges == [None, "bytes=10000-", "bytes=20000-"]

    def test_a_server_that_hangs_up(self, server: MisbehavingServer, fetch: Fetch) -> None:
        server.will_always(lambda exchange: None)
        with pytest.raises(FetchError, match="hung up without an answer"):
            fetch(server.url())

    def test_connection_refused(self, fetch: Fetch) -> None:
        with pytest.raises(FetchError, match="Connection refused"):
            fetch("http://127.0.0.1:1/checkpoint.zip")

    @pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
    def test_a_busy_server_is_asked_again(
        self, server: MisbehavingServer, fetch: Fetch, digest: str, code: int
    ) -> None:
        server.will(bad.status(code), bad.status(code))
        assert fetch(server.url()).sha256 == digest

    @pytest.mark.parametrize("code", [429, 503])
    def test_retry_after_is_waited_for(
        self, server: MisbehavingServer, fetch: Fetch, digest: str, code: int
    ) -> None:
        server.will(bad.status(code, Retry_After="1"))
        limits = dataclasses.replace(QUICK, retry_after_max=5)
        begun = time.monotonic()
        assert fetch(server.url(), limits=limits).sha256 == digest
        assert time.monotonic() - begun >= 1

    def test_retry_after_past_the_deadline_is_an_end(
        self, server: MisbehavingServer, fetch: Fetch
    ) -> None:
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
            (formatdate(time.time() + 3600, usegmt=True), 120),
            (formatdate(0, usegmt=True), 0),
            ("soon", 0),
            ("-1", 0),
            ("", 0),
            (None, 0),
        ],
    )
    def test_retry_after_counts_up_to_a_cap(self, header: str | None, seconds: float) -> None:
        limits = dataclasses.replace(QUICK, retry_after_max=120)
        _, pause = next_try(fresh_retry(limits), TryError("busy", header), time.monotonic() + 1000)
        assert pause == seconds

    def test_backoff_doubles_to_its_cap(self) -> None:
        retry = fresh_retry(dataclasses.replace(QUICK, backoff=1, backoff_max=4, retries=9))
        pauses = []
        for _ in range(5):
            retry, pause = next_try(retry, TryError("busy"), time.monotonic() + 1000)
            pauses.append(pause)
        assert pauses == [0, 2, 4, 4, 4]


class TestEncodings:
    """gzip Content-Encoding; no Content-Length: bytes hashed are the file's bytes."""

    def test_identity_is_asked_for(self, server: MisbehavingServer, fetch: Fetch) -> None:
        fetch(server.url())
        assert server.requests[0].headers["Accept-Encoding"] == "identity"

    @pytest.mark.parametrize(
        "answer", [bad.gzipped, bad.chunked], ids=["gzip", "no Content-Length: chunked"]
    )
    def test_the_files_bytes(
        self, server: MisbehavingServer, fetch: Fetch, digest: str, answer: bad.Behaviour
    ) -> None:
        server.will(answer)
        assert fetch(server.url()).sha256 == digest
        assert len(server.requests) == 1

    def test_a_body_of_several_gzip_members(
        self, server: MisbehavingServer, fetch: Fetch, digest: str, content: bytes
    ) -> None:
        packed = gzip.compress(content[:15_000]) + gzip.compress(content[15_000:])
        server.will(bad.body(packed, Content_Encoding="x-gzip"))
        assert fetch(server.url()).sha256 == digest

    def test_a_deflated_body(
        self, server: MisbehavingServer, fetch: Fetch, digest: str, content: bytes
    ) -> None:
        server.will(bad.body(zlib.compress(content), Content_Encoding="deflate"))
        assert fetch(server.url()).sha256 == digest

    def test_a_cut_compressed_body(
        self, server: MisbehavingServer, fetch: Fetch, digest: str
    ) -> None:
        server.will(bad.gzipped_cut(20_000), bad.gzipped)
        assert fetch(server.url()).sha256 == digest
        assert server.ranges == [None, None]

    def test_a_compressed_body_that_grows_past_the_limit(
        self, server: MisbehavingServer, fetch: Fetch
    ) -> None:
        server.content = b"PK" + bytes(50_000_000)
        server.will_always(bad.gzipped)
        with pytest.raises(FetchError, match="more than max_bytes"):
            fetch(server.url())

    def test_a_damaged_compressed_body(
        self, server: MisbehavingServer, fetch: Fetch, digest: str, content: bytes
    ) -> None:
        server.will(bad.body(content, Content_Encoding="gzip"))
        assert fetch(server.url()).sha256 == digest

    def test_an_encoding_nobody_asked_for(
        self, server: MisbehavingServer, fetch: Fetch, content: bytes
    ) -> None:
        server.will_always(bad.body(content, Content_Encoding="br"))
        with pytest.raises(FetchError, match="neither gzip nor deflate"):
            fetch(server.url())

    def test_no_length_at_all_is_believed_the_second_time(
        self, server: MisbehavingServer, fetch: Fetch, digest: str
    ) -> None:
        server.will_always(bad.until_close)
        assert fetch(server.url()).sha256 == digest
        assert len(server.requests) == 2

    def test_no_length_at_all_and_cut(
        self, server: MisbehavingServer, fetch: Fetch, digest: str
    ) -> None:
        server.will(bad.until_close_cut(20_000), bad.until_close_cut(30_000))
        server.will_always(bad.until_close)
        assert fetch(server.url()).sha256 == digest
        assert len(server.requests) == 4

    def test_no_length_at_all_but_a_zip_that_ends(
        self, server: MisbehavingServer, fetch: Fetch, tmp_path: Path
    ) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("member", "text")
        server.content = (tmp_path / "a.zip").read_bytes()
        server.will_always(bad.until_close)
        fetch(server.url())
        assert len(server.requests) == 1


def test_the_user_reads_what_happens(server: MisbehavingServer, fetch: Fetch, digest: str) -> None:
    server.will(bad.status(404), bad.cut_after(20_000))
    notes = Notes()
    first, second = server.url(path="/first"), server.url(path="/second")
    fetch(first, second, progress=notes)
    assert notes.lines == [
        f"{first}: 404 Not Found",
        "cut before its end; trying again in 0 s",
        f"{second}: complete, 40,000 bytes, sha256 {digest}",
    ]
