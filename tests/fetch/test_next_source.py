"""Rows "404, 403, 410, or an HTML page with status 200": next source in the list."""

import pytest

from fetch.conftest import Notes
from megaport.fetch.download import FetchError
from support import misbehaviours as bad


@pytest.mark.parametrize(
    "answer",
    [bad.status(404), bad.status(403), bad.status(401), bad.status(410), bad.web_page],
    ids=["404", "403", "401", "410", "html"],
)
def test_404_403_410_or_html_with_status_200_next_source_in_the_list(server, fetch, digest, answer):
    server.will(answer)
    assert fetch(server.url(path="/first"), server.url(path="/second")).sha256 == digest
    assert [request.path for request in server.requests] == ["/first", "/second"]


def test_after_the_last_one_error_names_every_url_with_its_reason(server, fetch):
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
def test_anything_else_with_status_200(server, fetch, page, reason):
    server.will_always(bad.body(page))
    with pytest.raises(FetchError, match=r"neither|web page") as failure:
        fetch(server.url())
    assert reason in str(failure.value)
    assert len(server.requests) == 1


def test_a_status_that_is_none(server, fetch):
    server.will_always(bad.status(999))
    with pytest.raises(FetchError, match="999, which is no HTTP status"):
        fetch(server.url())


def test_a_checkpoint_that_calls_itself_html_is_taken(server, fetch, content, digest):
    server.will(bad.body(content, Content_Type="text/html"))
    assert fetch(server.url()).sha256 == digest


def test_a_legacy_torch_file_is_taken(server, fetch):
    server.content = b"\x80\x02\x8a\x0a" + bytes(500)
    assert fetch(server.url()).size == 504


def test_a_web_page_does_not_cost_what_is_here(server, fetch, digest):
    """A hotel's sign-in page between two runs."""
    server.will(bad.cut_after(20_000), bad.web_page)
    with pytest.raises(FetchError):
        fetch(server.url())
    assert fetch(server.url()).sha256 == digest
    assert server.ranges == [None, "bytes=20000-", "bytes=20000-"]


def test_what_an_earlier_source_left_is_removed_after_success(server, fetch, folder):
    server.will(bad.cut_after(20_000), bad.status(404))
    found = fetch(server.url(path="/first"), server.url(path="/second"))
    assert set(folder.iterdir()) == {found.path, found.path.with_suffix(".json")}


def test_the_user_reads_what_happens(server, fetch, digest):
    server.will(bad.status(404), bad.cut_after(20_000))
    notes = Notes()
    first, second = server.url(path="/first"), server.url(path="/second")
    fetch(first, second, progress=notes)
    assert notes.lines == [
        f"{first}: 404 Not Found",
        "cut before its end; trying again in 0 s",
        f"{second}: complete, 40,000 bytes, sha256 {digest}",
    ]
