"""A network failure in words: the innermost cause, without addresses or queries."""

import ssl
from http.client import RemoteDisconnected

import requests
import urllib3
from urllib3 import exceptions as u

NETWORK = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)
WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (RemoteDisconnected, "it hung up without an answer"),
    (u.NameResolutionError, "the host name is not known"),
    (requests.ConnectTimeout, "no connection in time"),
    (u.ReadTimeoutError, "no byte in time"),
    (u.IncompleteRead, "cut before its end"),
    (u.ProxyError, "the proxy failed"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
)


def causes(error: BaseException) -> list[BaseException]:
    """The error and what it wraps: causes, contexts, and exceptions among the arguments."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            waiting += [getattr(item, "reason", None), item.__cause__, item.__context__, *item.args]
    return found


def in_words(error: BaseException) -> str:
    """One line for people."""
    chain = causes(error)
    for kind, words in WORDS:
        if any(isinstance(item, kind) for item in chain):
            return words
    system = [item.strerror for item in chain if isinstance(item, OSError) and item.strerror]
    return system[-1] if system else f"not valid HTTP ({type(chain[-1]).__name__})"


def is_hopeless(error: BaseException) -> bool:
    """Whether another try would end the same: a bad certificate, an address that is none."""
    kinds = (ssl.SSLCertVerificationError, u.LocationParseError, requests.exceptions.InvalidURL)
    return any(isinstance(item, kinds) for item in causes(error))
