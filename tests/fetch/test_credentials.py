"""Row "NGC_API_KEY in logs, receipts, report, error text": never."""

import logging
import traceback

import pytest
import requests

from fetch.conftest import CONTENT, Notes
from megaport.fetch.credentials import CredentialError, Secret, is_ngc, ngc_key
from megaport.fetch.download import FetchError
from megaport.fetch.sources import shown
from support import misbehaviours as bad
from support.misbehaving_server import KEY, MIRROR, NGC, Behaviour, authorizations

pytestmark = pytest.mark.usefixtures("loopback_names")


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
def test_who_is_ngc(url, expected):
    assert is_ngc(url) is expected


def echo_the_key(exchange):
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


def test_ngc_api_key_in_logs_errors_and_files_never(secure, fetch, folder, caplog, capfd):
    """Logs at every level, notes, errors with their tracebacks, results, files, file names."""
    caplog.set_level(logging.DEBUG)
    notes, errors = Notes(), []
    attacks: list[Behaviour] = [
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


def test_a_key_that_comes_back_as_a_host_is_hidden(secure, fetch, monkeypatch):
    monkeypatch.setenv("NGC_API_KEY", "nvapi-Abc123Def456")
    secure.will_always(bad.redirect("http://nvapi-Abc123Def456.example/"))
    with pytest.raises(FetchError, match=r"http://\[hidden\]\.example") as failure:
        fetch(secure.url(NGC))
    assert "abc123" not in str(failure.value).lower()


def test_the_log_of_urllib3_shows_no_key(secure, fetch, caplog):
    caplog.set_level(logging.DEBUG)
    secure.will(bad.cut_after(10), bad.status(503, Retry_After="0"))
    fetch(secure.url(NGC))
    assert caplog.records
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("key", "hint"), [(KEY, "NGC_API_KEY was sent"), ("", "NGC_API_KEY is not set")]
)
@pytest.mark.parametrize("code", [401, 403])
def test_a_refusal_of_ngc_says_whether_a_key_was_sent(secure, fetch, monkeypatch, key, hint, code):
    monkeypatch.setenv("NGC_API_KEY", key)
    secure.will_always(bad.status(code))
    with pytest.raises(FetchError, match=hint):
        fetch(secure.url(NGC))


def test_a_secret_does_not_show_itself():
    secret = Secret(KEY)
    assert KEY not in f"{secret} {secret!r} {[secret]} {vars(type(secret))}"
    assert secret.scrub(f"a {KEY} b {KEY.upper()}") == "a [hidden] b [hidden]"


@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_an_empty_key_is_none(value):
    assert ngc_key({"NGC_API_KEY": value}) is None
    assert ngc_key({}) is None


def test_a_line_break_at_the_end_of_a_key_is_forgiven():
    key = ngc_key({"NGC_API_KEY": f"{KEY}\n"})
    assert key is not None
    assert key.reveal() == KEY


@pytest.mark.parametrize("value", ["two words", "a\nb", "a\x00b", "schlüssel", '"quoted"'])
def test_what_cannot_be_a_key_is_refused_without_showing_it(value):
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
def test_how_a_source_is_shown(source, expected):
    assert shown(source) == expected
