"""The one credential there is, the NGC key: given to NGC over https, and shown to nobody.

The header is `Authorization: Bearer KEY` (NVIDIA's Cloud Functions API page, "API Key Usage").
"""

import os
import re
from collections.abc import Mapping
from urllib.parse import quote, urljoin

import requests
from requests import PreparedRequest, Response
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url
from urllib3.util import parse_url

from megaport.errors import MegaportError
from megaport.fetch.sources import SourceError

VARIABLE = "NGC_API_KEY"
NGC_DOMAIN = "ngc.nvidia.com"
# What a bearer token may hold (RFC 6750, section 2.1): nothing that a header or JSON would escape.
BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
HIDDEN = "[hidden]"
MAX_REDIRECTS = 10


class CredentialError(MegaportError):
    """NGC_API_KEY holds something that is no key."""


class Secret:
    """A value that no repr, format or log shows; only `reveal` gives it away."""

    __slots__ = ("_forms", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        forms = sorted({value, quote(value, safe="")}, key=len, reverse=True)
        self._forms = re.compile("|".join(map(re.escape, forms)), re.IGNORECASE)

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def reveal(self) -> str:
        return self._value

    def scrub(self, text: str) -> str:
        """`text` without the value, plain or percent-encoded, in any case (hosts are lowered)."""
        return self._forms.sub(HIDDEN, text)


def ngc_key(environment: Mapping[str, str] = os.environ) -> Secret | None:
    """The key in NGC_API_KEY, or None where it is unset or empty.

    Raises CredentialError, which does not show the value, where it cannot be a header.
    """
    value = environment.get(VARIABLE, "").strip()
    if not value:
        return None
    if not BEARER_TOKEN.fullmatch(value):
        raise CredentialError(
            VARIABLE,
            seen="a value with spaces or characters that no key has",
            expected="one key: letters, digits and . _ ~ + / = -",
            remedy=f"Export {VARIABLE} again, without quotes or line breaks, or unset it.",
        )
    return Secret(value)


def is_ngc(url: str) -> bool:
    """Whether a URL is NGC's over https, judged by the parser that also makes the connection."""
    parts = parse_url(url)
    host = (parts.host or "").lower()
    return parts.scheme == "https" and (host == NGC_DOMAIN or host.endswith("." + NGC_DOMAIN))


class CarefulSession(requests.Session):
    """Follows redirects as requests does, but judges each, and who is given which credential.

    The key goes to the host first asked, where that is NGC's; a user and password in a URL go to
    that URL's host. ~/.netrc is not read.
    """

    def __init__(self, first_url: str, key: Secret | None) -> None:
        super().__init__()
        self.max_redirects = MAX_REDIRECTS
        self._first_host = parse_url(first_url).host
        self._key = key
        self.auth = self._authorize

    def _authorize(self, request: PreparedRequest) -> PreparedRequest:
        url = str(request.url)
        user, password = get_auth_from_url(url)
        if self._key and is_ngc(url) and parse_url(url).host == self._first_host:
            request.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        elif user or password:
            HTTPBasicAuth(user, password)(request)
        return request

    def rebuild_auth(self, prepared_request: PreparedRequest, response: Response) -> None:
        prepared_request.headers.pop("Authorization", None)
        self._authorize(prepared_request)

    def get_redirect_target(self, resp: Response) -> str | None:
        """Where a response redirects to; None where it does not. Raises SourceError."""
        target = super().get_redirect_target(resp)
        if target is not None:
            _check_hop(resp.url, urljoin(resp.url, target))
            resp.close()  # requests would read its body, however long
        return target


def _check_hop(url: str, target: str) -> None:
    before, after = parse_url(url), parse_url(target)
    if after.scheme not in ("http", "https"):
        raise SourceError(f"redirects to the scheme {after.scheme}://")
    if (before.scheme, after.scheme) == ("https", "http"):
        raise SourceError(
            f"redirects from https down to http://{after.host}, which anyone can forge"
        )
