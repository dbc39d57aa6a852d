"""Row "gzip Content-Encoding; no Content-Length": bytes hashed are the file's bytes."""

import zipfile

import pytest

from megaport.fetch.download import FetchError
from support import misbehaviours as bad


def test_identity_is_asked_for(server, fetch):
    fetch(server.url())
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "answer", [bad.gzipped, bad.chunked], ids=["gzip", "no Content-Length: chunked"]
)
def test_gzip_content_encoding_or_no_content_length_give_the_files_bytes(
    server, fetch, digest, answer
):
    server.will(answer)
    assert fetch(server.url()).sha256 == digest
    assert len(server.requests) == 1


def test_a_cut_compressed_body(server, fetch, digest):
    server.will(bad.gzipped_cut(20_000), bad.gzipped)
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None, None]


def test_a_compressed_body_that_grows_past_the_limit(server, fetch):
    server.content = b"PK" + bytes(50_000_000)
    server.will_always(bad.gzipped)
    with pytest.raises(FetchError, match="more than max_bytes"):
        fetch(server.url())


def test_a_damaged_compressed_body(server, fetch, digest, content):
    server.will(bad.body(content, Content_Encoding="gzip"))
    assert fetch(server.url()).sha256 == digest


def test_an_encoding_nobody_asked_for(server, fetch, content):
    server.will_always(bad.body(content, Content_Encoding="br"))
    with pytest.raises(FetchError, match="neither gzip nor deflate"):
        fetch(server.url())


def test_no_length_at_all_is_believed_the_second_time(server, fetch, digest):
    server.will_always(bad.until_close)
    assert fetch(server.url()).sha256 == digest
    assert len(server.requests) == 2


def test_no_length_at_all_and_cut(server, fetch, digest):
    server.will(bad.until_close_cut(20_000), bad.until_close_cut(30_000))
    server.will_always(bad.until_close)
    assert fetch(server.url()).sha256 == digest
    assert len(server.requests) == 4


def test_no_length_at_all_but_a_zip_that_ends(server, fetch, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("member", "text")
    server.content = (tmp_path / "a.zip").read_bytes()
    server.will_always(bad.until_close)
    fetch(server.url())
    assert len(server.requests) == 1
