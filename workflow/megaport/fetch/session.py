"""One request and its redirects, each hop judged before it is taken."""

from collections.abc import Mapping
from urllib.parse import urljoin

import requests
from urllib3.util import parse_url

from megaport.fetch.credentials import Credentials, Secret
from megaport.fetch.errors import SourceError
from megaport.fetch.limits import Limits

MAX_REDIRECTS = 10


class OneHopSession(requests.Session):
    """A session that follows nothing by itself.

    requests would read the whole body of a redirect into memory, however long it is, and would
    follow https to http.
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None

    def next_url(self, response: requests.Response) -> str | None:
        """Where a response redirects to, absolute; None where it does not."""
        target = super().get_redirect_target(response)
        return urljoin(response.url, target) if target else None


def ask(
    url: str, headers: Mapping[str, str], *, key: Secret | None, limits: Limits
) -> requests.Response:
    """The response at the end of the redirects, its body unread and undecoded.

    The key goes to the first host only, and only where that is NGC's (`Credentials`).
    Raises SourceError for a forbidden redirect; requests' and urllib3's exceptions for the network.
    """
    session = OneHopSession()
    credentials = Credentials(key, url)
    for _ in range(MAX_REDIRECTS + 1):
        response = session.get(
            url,
            headers={"User-Agent": "megaport", "Accept-Encoding": "identity", **headers},
            auth=credentials,
            timeout=(limits.connect_seconds, limits.read_seconds),
            stream=True,
        )
        target = session.next_url(response)
        if target is None:
            return response
        response.close()
        _check_hop(url, target)
        url = target
    raise SourceError(f"more than {MAX_REDIRECTS} redirects")


def _check_hop(url: str, target: str) -> None:
    before, after = parse_url(url), parse_url(target)
    if after.scheme not in ("http", "https"):
        raise SourceError(f"redirects to the scheme {after.scheme}://")
    if (before.scheme, after.scheme) == ("https", "http"):
        raise SourceError(
            f"redirects from https down to http://{after.host}, which anyone can forge"
        )
