"""What a source is: a URL to ask, or a file or folder on this machine."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

USERINFO = re.compile(r"//[^/?#]*@")


class SourceError(Exception):
    """This source will not do, however often it is asked; the next one may."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


def shown(source: str) -> str:
    """A source as people may see it: no user, no password, no query value but NGC's `path`."""
    address, mark, query = USERINFO.sub("//", source).partition("#")[0].partition("?")
    return address + mark + "&".join(map(_shown_parameter, query.split("&")))


def _shown_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    if name == "path" or not parameter:
        return parameter
    return f"{name}=***" if equals else "***"


def local_source(source: str) -> Path | None:
    """The file or folder a source names; None where it is an http or https URL.

    Raises SourceError for other schemes, for another host's files, and where nothing is there.
    """
    if re.match(r"https?://", source, re.IGNORECASE):
        return None
    try:
        path = _file_url_path(source) if "://" in source else Path(source).expanduser()
        if path.exists():
            return path
    except OSError as error:
        raise SourceError(f"cannot be reached: {error.strerror}") from error
    except RuntimeError as error:
        raise SourceError("starts with the home folder of nobody known here") from error
    raise SourceError("no such file or folder")


def _file_url_path(url: str) -> Path:
    """The path of a file:// URL (RFC 8089): an empty host or localhost, percent-encoded."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() != "file":
        raise SourceError(f"the scheme {scheme}:// is not supported (http, https and file are)")
    host = urlsplit(f"//{rest.partition('/')[0]}").netloc
    if host.lower() not in ("", "localhost"):
        raise SourceError(f"names a file on another host, {host}")
    return Path(unquote("/" + rest.partition("/")[2]))
