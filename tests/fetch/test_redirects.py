"""Row "redirect to another host, or to http": credentials not forwarded, downgrade refused."""

import pytest
import trustme

from fetch.conftest import Notes
from megaport.fetch.download import FetchError
from support import misbehaviours as bad
from support.misbehaving_server import KEY, MIRROR, NGC, NGC_FILES, authorizations

pytestmark = pytest.mark.usefixtures("loopback_names")


def test_the_key_comes_along_when_resuming(secure, fetch, digest):
    secure.will(bad.cut_after(20_000))
    assert fetch(secure.url(NGC)).sha256 == digest
    assert authorizations(secure) == [f"Bearer {KEY}"] * 2


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("other", [MIRROR, NGC_FILES])
def test_redirect_to_another_host_drops_the_key(secure, fetch, digest, code, other):
    """Also to another host of NGC's: a signed URL with a second credential is refused there."""
    secure.will(bad.redirect(secure.url(other, "/moved"), code))
    assert fetch(secure.url(NGC)).sha256 == digest
    assert authorizations(secure) == [f"Bearer {KEY}", None]
    assert [request.path for request in secure.requests] == ["/checkpoint.zip", "/moved"]


def test_redirect_on_the_same_host_keeps_the_key(secure, fetch, digest):
    secure.will(bad.redirect("/moved?again"))
    assert fetch(secure.url(NGC)).sha256 == digest
    assert authorizations(secure) == [f"Bearer {KEY}"] * 2


def test_redirect_from_elsewhere_to_ngc_brings_no_key(secure, fetch):
    secure.will(bad.redirect(secure.url(NGC)))
    fetch(secure.url(MIRROR))
    assert authorizations(secure) == [None, None]


def test_redirect_to_http_is_refused(secure, server, fetch):
    secure.will_always(bad.redirect(server.url(NGC)))
    with pytest.raises(FetchError, match=r"from https down to http://api\.ngc\.nvidia\.com"):
        fetch(secure.url(NGC))
    assert server.requests == []


def test_redirect_to_http_two_hops_on_is_refused(secure, server, fetch):
    secure.will(bad.redirect(secure.url(MIRROR)), bad.redirect(server.url(MIRROR)))
    with pytest.raises(FetchError, match="from https down to http"):
        fetch(secure.url(NGC))
    assert server.requests == []


def test_redirect_from_http_up_to_https_is_followed(secure, server, fetch, digest):
    server.will(bad.redirect(secure.url(MIRROR)))
    assert fetch(server.url()).sha256 == digest


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "javascript:1"])
def test_redirect_to_another_scheme_is_refused(secure, fetch, target):
    secure.will_always(bad.redirect(target))
    with pytest.raises(FetchError, match="redirects to the scheme"):
        fetch(secure.url(MIRROR))


def test_redirects_in_a_circle_end(server, fetch):
    server.will_always(bad.redirect("/checkpoint.zip"))
    with pytest.raises(FetchError, match="more than 10 redirects"):
        fetch(server.url())


def test_redirect_with_an_endless_body_is_not_read(server, fetch, digest):
    server.will(bad.endless_redirect("/moved"))
    assert fetch(server.url()).sha256 == digest


def test_redirect_that_is_no_text_is_an_end(server, fetch):
    server.will_always(bad.redirect("/\xff\xfe"))
    with pytest.raises(FetchError, match="not valid HTTP"):
        fetch(server.url())


def test_an_untrusted_certificate_is_refused_at_once(secure, fetch, tmp_path, monkeypatch):
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))
    notes = Notes()
    with pytest.raises(FetchError, match="its certificate is not trusted"):
        fetch(secure.url(NGC), progress=notes)
    assert len(notes.lines) == 1
    assert secure.requests == []


def test_a_password_in_the_url_goes_to_its_host_only(secure, fetch):
    secure.will(bad.redirect(secure.url(NGC_FILES)))
    notes = Notes()
    fetch(secure.url(f"user:pass@{MIRROR}"), progress=notes)
    assert authorizations(secure) == ["Basic dXNlcjpwYXNz", None]
    assert notes.lines[-1].startswith(f"{secure.url(MIRROR)}: complete")


def test_netrc_is_not_read(secure, fetch, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {MIRROR} login me password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    fetch(secure.url(MIRROR))
    assert authorizations(secure) == [None]
