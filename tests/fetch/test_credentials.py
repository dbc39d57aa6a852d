"""Rows "redirect to another host, or to http" and "NGC_API_KEY in logs ...: never", over HTTPS."""

import logging
import socket
import ssl
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from fetch.conftest import CONTENT, Fetch, Notes
from megaport.fetch.credentials import CredentialError, Secret, is_ngc, ngc_key
from megaport.fetch.errors import FetchError
from megaport.fetch.sources import shown
from support import misbehaving_server as bad
from support.misbehaving_server import MisbehavingServer, serving

KEY = "nvapi-Secret+Key/0123456789=="
NGC = "api.ngc.nvidia.com"
NGC_FILES = "files.ngc.nvidia.com"
MIRROR = "mirror.example"
HOSTS = (NGC, NGC_FILES, MIRROR, "localhost")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(autouse=True)
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
def secure(authority: trustme.CA) -> Iterator[MisbehavingServer]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*HOSTS).configure_cert(context)
    with serving(CONTENT, context) as running:
        yield running


def authorizations(*servers: MisbehavingServer) -> list[str | None]:
    return [
        request.headers.get("Authorization") for server in servers for request in server.requests
    ]


def test_the_key_goes_to_ngc(secure: MisbehavingServer, fetch: Fetch, digest: str) -> None:
    assert fetch(secure.url(NGC)).sha256 == digest
    assert authorizations(secure) == [f"Bearer {KEY}"]


def test_the_key_goes_to_nobody_else(secure: MisbehavingServer, fetch: Fetch) -> None:
    fetch(secure.url(MIRROR))
    assert authorizations(secure) == [None]


def test_the_key_goes_nowhere_over_http(server: MisbehavingServer, fetch: Fetch) -> None:
    fetch(server.url(NGC))
    assert authorizations(server) == [None]


def test_the_key_comes_along_when_resuming(
    secure: MisbehavingServer, fetch: Fetch, digest: str
) -> None:
    secure.will(bad.cut_after(20_000))
    assert fetch(secure.url(NGC)).sha256 == digest
    assert authorizations(secure) == [f"Bearer {KEY}"] * 2


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("other", [MIRROR, NGC_FILES])
def test_redirect_to_another_host_drops_the_key(
    secure: MisbehavingServer, fetch: Fetch, digest: str, code: int, other: str
) -> None:
    """Also to another host of NGC's: a signed URL with a second credential is refused there."""
    secure.will(bad.redirect(secure.url(other, "/moved"), code))
    assert fetch(secure.url(NGC)).sha256 == digest
    assert authorizations(secure) == [f"Bearer {KEY}", None]
    assert [request.path for request in secure.requests] == ["/checkpoint.zip", "/moved"]


def test_redirect_on_the_same_host_keeps_the_key(
    secure: MisbehavingServer, fetch: Fetch, digest: str
) -> None:
    secure.will(bad.redirect("/moved?again"))
    assert fetch(secure.url(NGC)).sha256 == digest
    assert authorizations(secure) == [f"Bearer {KEY}"] * 2


def test_redirect_from_elsewhere_to_ngc_brings_no_key(
    secure: MisbehavingServer, fetch: Fetch
) -> None:
    secure.will(bad.redirect(secure.url(NGC)))
    fetch(secure.url(MIRROR))
    assert authorizations(secure) == [None, None]


def test_redirect_to_http_is_refused(
    secure: MisbehavingServer, server: MisbehavingServer, fetch: Fetch
) -> None:
    secure.will_always(bad.redirect(server.url(NGC)))
    with pytest.raises(FetchError, match=r"from https down to http://api\.ngc\.nvidia\.com"):
        fetch(secure.url(NGC))
    assert server.requests == []


def test_redirect_to_http_two_hops_on_is_refused(
    secure: MisbehavingServer, server: MisbehavingServer, fetch: Fetch
) -> None:
    secure.will(bad.redirect(secure.url(MIRROR)), bad.redirect(server.url(MIRROR)))
    with pytest.raises(FetchError, match="from https down to http"):
        fetch(secure.url(NGC))
    assert server.requests == []


def test_redirect_from_http_up_to_https_is_followed(
    secure: MisbehavingServer, server: MisbehavingServer, fetch: Fetch, digest: str
) -> None:
    server.will(bad.redirect(secure.url(MIRROR)))
    assert fetch(server.url()).sha256 == digest


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "javascript:1"])
def test_redirect_to_another_scheme_is_refused(
    secure: MisbehavingServer, fetch: Fetch, target: str
) -> None:
    secure.will_always(bad.redirect(target))
    with pytest.raises(FetchError, match="redirects to the scheme"):
        fetch(secure.url(MIRROR))


def test_redirects_in_a_circle_end(server: MisbehavingServer, fetch: Fetch) -> None:
    server.will_always(bad.redirect("/checkpoint.zip"))
    with pytest.raises(FetchError, match="more than 10 redirects"):
        fetch(server.url())


def test_redirect_with_an_endless_body_is_not_read(
    server: MisbehavingServer, fetch: Fetch, digest: str
) -> None:
    server.will(bad.endless_redirect("/moved"))
    assert fetch(server.url()).sha256 == digest


def test_redirect_that_is_no_text_is_an_end(server: MisbehavingServer, fetch: Fetch) -> None:
    server.will_always(bad.redirect("/\xff\xfe"))
    with pytest.raises(FetchError, match="not valid HTTP"):
        fetch(server.url())


def test_an_untrusted_certificate_is_refused_at_once(
    secure: MisbehavingServer, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))
    notes = Notes()
    with pytest.raises(FetchError, match="its certificate is not trusted"):
        fetch(secure.url(NGC), progress=notes)
    assert len(notes.lines) == 1
    assert secure.requests == []


def test_a_password_in_the_url_goes_to_its_host_only(
    secure: MisbehavingServer, fetch: Fetch
) -> None:
    secure.will(bad.redirect(secure.url(NGC_FILES)))
    found = fetch(secure.url(f"user:pass@{MIRROR}"))
    assert authorizations(secure) == ["Basic dXNlcjpwYXNz", None]
    assert found.url == secure.url(MIRROR)


def test_netrc_is_not_read(
    secure: MisbehavingServer, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {MIRROR} login me password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    fetch(secure.url(MIRROR))
    assert authorizations(secure) == [None]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.ngc.nvidia.com/v2", True),
        ("https://API.NGC.NVIDIA.COM:443/v2", True),
        ("https://ngc.nvidia.com/", True),
        ("https://xfiles.ngc.nvidia.com/a", True),
        ("http://api.ngc.nvidia.com/v2", False),
        ("https://nvidia.com/", False),
        ("https://evilngc.nvidia.com/", False),
        ("https://api.ngc.nvidia.com.evil.example/", False),
        ("https://api.ngc.nvidia.com@evil.example/", False),
        ("https://evil.example/api.ngc.nvidia.com", False),
        ("https://evil.example#@api.ngc.nvidia.com/", False),
        ("https://evil.example?api.ngc.nvidia.com", False),
        ("https://evil.example\\@api.ngc.nvidia.com/", False),
        ("https:///api.ngc.nvidia.com", False),
        ("", False),
    ],
)
def test_who_is_ngc(url: str, expected: bool) -> None:
    assert is_ngc(url) is expected


def echo_the_key(exchange: bad.Exchange) -> None:
    """A server that puts what it was given wherever it can."""
    given = exchange.handler.headers["Authorization"].removeprefix("Bearer ")
    exchange.handler.send_response(200, f"hello {given}")
    for name, value in {
        "ETag": f'"{given}"',
        "Content-Length": "40000",
        "X-Key": given,
        "Set-Cookie": f"key={given}",
    }.items():
        exchange.handler.send_header(name, value)
    exchange.handler.end_headers()
    exchange.write(CONTENT[:20_000])


def test_the_key_is_nowhere_to_be_read(
    secure: MisbehavingServer,
    fetch: Fetch,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Logs at every level, notes, errors with their tracebacks, results, files, file names."""
    caplog.set_level(logging.DEBUG)
    notes, errors = Notes(), []
    attacks: list[bad.Behaviour] = [
        echo_the_key,
        bad.status(401),
        bad.status(403, X_Key=KEY),
        bad.redirect(f"http://{KEY.lower().replace('+/', '')}.example/{KEY}?key={KEY}"),
        bad.redirect(f"https://user:{KEY}@{MIRROR}:1/{KEY}?key={KEY}"),
        bad.redirect(f"x{KEY}://elsewhere"),
        bad.body(KEY.encode()),
        bad.reset_after(0),
    ]
    for attack in attacks:
        secure.will(attack, bad.status(410))
        url = secure.url(NGC, f"/{KEY}?key={KEY}&path={requests.utils.quote(KEY, safe='')}")
        with pytest.raises(FetchError) as failure:
            fetch(url, progress=notes)
        errors += [str(failure.value), repr(failure.value), repr(failure.value.reasons)]
        errors += traceback.format_exception(failure.value)
        secure.planned.clear()
    errors.append(repr(fetch(secure.url(NGC, f"/{KEY}"), progress=notes)))
    written = [path.name + path.read_bytes().decode("latin1") for path in folder.iterdir()]
    said = [*notes.lines, *errors, *written, *capfd.readouterr()]
    # urllib3's own debug log prints paths; only a user who puts the key into a URL sees it there.
    said += [r.getMessage() for r in caplog.records if not r.name.startswith("urllib3")]
    assert f"Bearer {KEY}" in authorizations(secure)
    assert len(notes.lines) > len(attacks)
    for text in said:
        for form in (KEY, KEY.lower(), requests.utils.quote(KEY, safe=""), "Secret+Key"):
            assert form not in text


def test_a_key_that_comes_back_as_a_host_is_hidden(
    secure: MisbehavingServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NGC_API_KEY", "nvapi-Abc123Def456")
    secure.will_always(bad.redirect("http://nvapi-Abc123Def456.example/"))
    with pytest.raises(FetchError, match=r"http://\[hidden\]\.example") as failure:
        fetch(secure.url(NGC))
    assert "abc123" not in str(failure.value).lower()


def test_the_log_of_urllib3_shows_no_key(
    secure: MisbehavingServer, fetch: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secure.will(bad.cut_after(10), bad.status(503, Retry_After="0"))
    fetch(secure.url(NGC))
    assert caplog.records
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("key", "hint"), [(KEY, "NGC_API_KEY was sent"), ("", "NGC_API_KEY is not set")]
)
@pytest.mark.parametrize("code", [401, 403])
def test_a_refusal_of_ngc_says_whether_a_key_was_sent(
    secure: MisbehavingServer,
    fetch: Fetch,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    hint: str,
    code: int,
) -> None:
    monkeypatch.setenv("NGC_API_KEY", key)
    secure.will_always(bad.status(code))
    with pytest.raises(FetchError, match=hint):
        fetch(secure.url(NGC))


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(KEY)
    assert KEY not in f"{secret} {secret!r} {[secret]} {vars(type(secret))}"
    assert secret.scrub(f"a {KEY} b {KEY.upper()}") == "a [hidden] b [hidden]"


@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_an_empty_key_is_none(value: str) -> None:
    assert ngc_key({"NGC_API_KEY": value}) is None
    assert ngc_key({}) is None


def test_a_line_break_at_the_end_of_a_key_is_forgiven() -> None:
    key = ngc_key({"NGC_API_KEY": f"{KEY}\n"})
    assert key is not None
    assert key.reveal() == KEY


@pytest.mark.parametrize("value", ["two words", "a\nb", "a\x00b", "schlüssel", '"quoted"'])
def test_what_cannot_be_a_key_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(CredentialError) as failure:
        ngc_key({"NGC_API_KEY": value})
    assert value not in str(failure.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("https://h/a?path=b/c.pt", "https://h/a?path=b/c.pt"),
        ("https://user:pass@h/a", "https://h/a"),
        ("https://h/a?token=t&path=p#frag", "https://h/a?token=***&path=p"),
        ("https://h/a?token", "https://h/a?***"),
        ("https://h/a?", "https://h/a?"),
        ("https://h/me@home", "https://h/me@home"),
        ("folder/file.zip", "folder/file.zip"),
    ],
)
def test_how_a_source_is_shown(source: str, expected: str) -> None:
    assert shown(source) == expected
