"""Whatever a server does, in whatever order: the right digest or a FetchError, within bounds."""

import dataclasses
import gc
import hashlib
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fetch.conftest import CONTENT, QUICK, pinned
from megaport.fetch.download import FetchError, download
from megaport.fetch.partial import Partial
from support import misbehaviours as bad
from support.misbehaving_server import ETAG, serving, well_behaved

DIGEST = hashlib.sha256(CONTENT).hexdigest()
LIMITS = dataclasses.replace(QUICK, max_seconds=3, window_seconds=0.15, read_seconds=0.15)
COUNTS = st.integers(0, len(CONTENT))
ODD_HEADERS = st.sampled_from(
    [
        {"Content_Range": "bytes 0-0/1"},
        {"Content_Range": "bytes 5-4/3"},
        {"Content_Range": "bytes 1-39999/40000"},
        {"ETag": "W/"},
        {"ETag": '"'},
        {"Retry_After": "0"},
        {"Content_Encoding": "identity"},
        {"Content_Encoding": "gzip, gzip"},
        {"Content_Length": "40000, 40000"},
        {"Content_Length": "-1"},
        {"Content_Length": "many"},
        {"Transfer_Encoding": "chunked"},
    ]
)


def behaviours():
    """One request's fate. The bytes sent are always some of the file's, or visibly none."""
    return st.one_of(
        st.sampled_from(
            [
                well_behaved,
                bad.ignore_range,
                bad.without_validator,
                bad.empty,
                bad.web_page,
                bad.chunked,
                bad.until_close,
                bad.gzipped,
                bad.endless,
            ]
        ),
        COUNTS.map(bad.cut_after),
        COUNTS.map(lambda count: bad.cut_chunked_after(count, 900)),
        COUNTS.map(bad.until_close_cut),
        COUNTS.map(bad.gzipped_cut),
        COUNTS.map(bad.reset_after),
        COUNTS.map(bad.hang_after),
        st.sampled_from([204, 304, 400, 404, 416, 429, 500, 503, 599, 999]).map(bad.status),
        st.sampled_from(["/again", "/", "http://127.0.0.1:1/", "x:y", "//"]).map(bad.redirect),
        st.builds(lambda headers: bad.body(CONTENT, **headers), ODD_HEADERS),
        st.builds(lambda headers: bad.rest(**headers), ODD_HEADERS),
        st.sampled_from(["bytes 0-39999/40000", "bytes */40000", "bytes 0-39999/*", ""]).map(
            bad.content_range
        ),
    )


@pytest.fixture(scope="module")
def shared_server():
    with serving(CONTENT) as running:
        yield running


def outcome(server, folder, **options):
    """The download, or None for a FetchError; anything else fails the test."""
    begun = time.monotonic()
    try:
        found = download([server.url()], folder, limits=LIMITS, **options)
    except FetchError:
        return None
    finally:
        assert time.monotonic() - begun < LIMITS.max_seconds + 3
    assert isinstance(found, Partial)
    return found


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(faults=st.lists(behaviours(), max_size=5))
@example(faults=[bad.cut_after(10_000), bad.rest(ETag=ETAG), well_behaved])
def test_any_faults(shared_server, faults):
    """Two runs over the same partial files; where one delivers, it delivers the file."""
    server = shared_server
    server.planned[:] = faults
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outcome(server, folder, check=pinned(DIGEST))
        gc.collect()  # as if the first run had ended: its lock is gone
        server.planned.clear()
        found = outcome(server, folder)
        assert found is not None
        assert found.sha256 == DIGEST
        assert found.path.read_bytes() == CONTENT
        found.move(folder / "done")
        assert [path.name for path in folder.iterdir()] == ["done"]
