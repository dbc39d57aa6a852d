"""A body cut at every chunk boundary, and a byte to either side of it, ends in the same digest."""

import pytest

from fetch.conftest import CONTENT
from support import misbehaviours as bad

CHUNK = 4000
CUTS = sorted({0, 1, 2, 3, *(at + by for at in range(CHUNK, 40_000, CHUNK) for by in (-1, 0, 1))})


@pytest.mark.parametrize("at", [*CUTS, len(CONTENT) - 1])
def test_body_cut_at_any_chunk_is_resumed_where_it_was(server, fetch, digest, at):
    server.will(bad.cut_after(at))
    assert fetch(server.url()).sha256 == digest
    # Less than four bytes do not tell whether they are a checkpoint's: they are asked for again.
    assert server.ranges == [None, f"bytes={at}-" if at >= 4 else None]


@pytest.mark.parametrize("at", CUTS)
def test_chunked_body_cut_at_any_chunk(server, fetch, digest, at):
    server.will(bad.cut_chunked_after(at, CHUNK))
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None, f"bytes={at}-" if at >= 4 else None]


@pytest.mark.parametrize("at", CUTS[4::5])
def test_body_cut_in_one_run_is_resumed_in_the_next(server, fetch, digest, at):
    server.will(bad.cut_after(at), bad.status(404))
    with pytest.raises(Exception, match="404"):
        fetch(server.url())
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None, f"bytes={at}-", f"bytes={at}-"]
