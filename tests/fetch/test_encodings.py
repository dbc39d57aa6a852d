"""Row "gzip Content-Encoding; no Content-Length"."""

import gzip
import zipfile
import zlib
from pathlib import Path

import pytest

from fetch.conftest import Fetch
from megaport.fetch.errors import FetchError
from support import misbehaviours as bad
from support.misbehaving_server import Behaviour, MisbehavingServer


class TestEncodings:
    """gzip Content-Encoding; no Content-Length: bytes hashed are the file's bytes."""

    def test_identity_is_asked_for(self, server: MisbehavingServer, fetch: Fetch) -> None:
        fetch(server.url())
        assert server.requests[0].headers["Accept-Encoding"] == "identity"

    @pytest.mark.parametrize(
        "answer", [bad.gzipped, bad.chunked], ids=["gzip", "no Content-Length: chunked"]
    )
    def test_gzip_content_encoding_or_no_content_length_give_the_files_bytes(
        self, server: MisbehavingServer, fetch: Fetch, digest: str, answer: Behaviour
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
