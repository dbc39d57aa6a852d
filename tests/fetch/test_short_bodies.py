"""Rows "status 200 with 0 bytes ...", never published short, and "right size, one flipped bit", a
digest error that names both."""

import hashlib

import pytest

from fetch.conftest import QUICK, pinned
from megaport.fetch.download import FetchError
from support import misbehaviours as bad


def test_status_200_with_0_bytes(server, fetch, digest):
    server.will(bad.empty, bad.empty)
    assert fetch(server.url()).sha256 == digest


def test_always_0_bytes_ends_with_the_reason(server, fetch, folder):
    server.will_always(bad.empty)
    with pytest.raises(FetchError, match="an empty body with status 200"):
        fetch(server.url())
    assert len(server.requests) == 1 + QUICK.retries
    assert list(folder.iterdir()) == []


def test_always_fewer_bytes_is_an_end_and_is_kept_for_the_next_run(server, fetch, digest):
    server.will(bad.cut_after(15_000), *[bad.cut_after(0)] * 4)
    with pytest.raises(FetchError, match=r"cut before its end .no tries left."):
        fetch(server.url())
    assert fetch(server.url()).sha256 == digest
    assert server.ranges[-1] == "bytes=15000-"


def test_progress_gives_new_tries(server, fetch, digest):
    """Forty connections of 1000 bytes each are slow, not hopeless."""
    server.will_always(bad.cut_after(1000))
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None, *(f"bytes={at}-" for at in range(1000, 40_000, 1000))]


def test_one_flipped_bit_names_both_digests_and_removes_the_file(server, fetch, digest, folder):
    server.will_always(bad.flip_bit(30_000))
    seen = bytearray(server.content)
    seen[30_000] ^= 1
    with pytest.raises(FetchError) as failure:
        fetch(server.url(), check=pinned(digest))
    assert digest in str(failure.value)
    assert hashlib.sha256(seen).hexdigest() in str(failure.value)
    assert list(folder.iterdir()) == []


def test_one_flipped_bit_and_the_next_source_may_have_the_right_bytes(server, fetch, digest):
    server.will(bad.flip_bit(30_000))
    urls = [server.url(path="/bad"), server.url(path="/good")]
    assert fetch(*urls, check=pinned(digest)).url == urls[1]
