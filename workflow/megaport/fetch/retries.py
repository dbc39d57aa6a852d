"""When to try again: urllib3's Retry decides how often and how long to wait."""

import time

from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util import Retry

from megaport.fetch.errors import SourceError, TryError
from megaport.fetch.limits import Limits


def fresh_retry(limits: Limits) -> Retry:
    """The tries a source has after the first, or after a try that made progress."""
    return Retry(
        total=limits.retries,
        backoff_factor=limits.backoff,
        backoff_max=limits.backoff_max,
        retry_after_max=int(limits.retry_after_max),
    )


def next_try(retry: Retry, fault: TryError, deadline: float) -> tuple[Retry, float]:
    """One try less, and the seconds to wait before it: Retry-After where given, else backoff.

    Raises SourceError where no try or no time is left.
    """
    try:
        retry = retry.increment(method="GET", url="", error=HTTPError(fault.reason))
    except MaxRetryError:
        raise SourceError(f"{fault.reason} (no tries left)") from fault
    pause = _asked_pause(retry, fault.retry_after)
    pause = retry.get_backoff_time() if pause is None else pause
    if time.monotonic() + pause >= deadline:
        raise SourceError(f"{fault.reason} (no time left)") from fault
    return retry, pause


def _asked_pause(retry: Retry, retry_after: str | None) -> float | None:
    """Seconds of a Retry-After header, at most `retry_after_max`; None for a senseless one."""
    if retry_after is None:
        return None
    try:
        return retry.parse_retry_after(retry_after)
    except (HTTPError, ValueError, OverflowError):
        return None
