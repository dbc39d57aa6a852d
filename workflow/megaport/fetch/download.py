"""What a download is: a local source kept where it is, an earlier try resumed, or a fetch."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util import Retry

from megaport.errors import MegaportError
from megaport.fetch.credentials import Secret, is_ngc, ngc_key
from megaport.fetch.partial import Partial, remove_leftover
from megaport.fetch.progress import Progress
from megaport.fetch.response import Limits, TryError
from megaport.fetch.sources import SourceError, local_source, shown
from megaport.fetch.transfer import Transfer

Check = Callable[[Path], object]
QUIET = Progress()
KEYS_PAGE = "https://org.ngc.nvidia.com/setup/api-keys"  # where NGC gives out keys


class FetchError(MegaportError):
    """No source gave the checkpoint; the message names every one with its reason."""

    def __init__(self, reasons: Sequence[tuple[str, str]]) -> None:
        self.reasons = tuple(reasons)
        tried = "".join(f"\n  {source}: {reason}" for source, reason in reasons)
        super().__init__(
            "download",
            seen=f"no usable source among {len(self.reasons)}:{tried}",
            expected="one of them to give a zip or a .pt",
            remedy="If you have the file, set `checkpoint: {path: FILE}` (a zip, a .pt or a "
            "checkpoint folder) or add its file:// URL to `checkpoint.urls`. For sources that "
            f"need a key, export NGC_API_KEY=KEY (made at {KEYS_PAGE}). What arrived so far is "
            "kept: the same command resumes it.",
        )


def download(
    sources: Sequence[str],
    folder: Path,
    *,
    limits: Limits,
    check: Check | None = None,
    progress: Progress = QUIET,
) -> Partial | Path:
    """The first of `sources` (http, https and file URLs, paths) that gives the checkpoint.

    What is on this machine is its path: used where it lies, never copied, never changed. Partial
    files live in `folder`, so that a later call resumes. A complete one lies there, locked, until
    `move` puts it where it belongs: until then a killed run loses nothing, and no other run takes
    it away. `check` gets the path of what arrived and refuses it by raising a MegaportError; a
    refused file is removed and the next source is tried. The NGC key comes from the environment
    and goes nowhere but to NGC.

    Raises FetchError, with every source and its reason, when none is left; PartialError where
    the disk fails; CredentialError where NGC_API_KEY is no key.
    """
    fetch = _Fetch(folder, limits, check, progress, ngc_key())
    reasons: list[tuple[str, str]] = []
    distinct = list(dict.fromkeys(sources))
    for position, source in enumerate(distinct):
        try:
            found = fetch.source(source)
            for passed in distinct[:position]:
                remove_leftover(folder, passed)
            return found
        except SourceError as refusal:
            reasons.append(fetch.explained(source, refusal))
            progress.note(": ".join(reasons[-1]))
    raise FetchError(reasons)


@dataclass(frozen=True)
class _Fetch:
    """One call of `download`: what holds for all of its sources."""

    folder: Path
    limits: Limits
    check: Check | None
    progress: Progress
    key: Secret | None

    def public(self, text: str) -> str:
        return self.key.scrub(text) if self.key else text

    def explained(self, source: str, refusal: SourceError) -> tuple[str, str]:
        """A source and its reason as people may see them, and what a key may change about it."""
        hint = ""
        if refusal.status in (401, 403) and is_ngc(source):
            hint = " (NGC_API_KEY was sent)" if self.key else " (NGC_API_KEY is not set)"
        return self.public(shown(source)), self.public(str(refusal)) + hint

    def source(self, source: str) -> Partial | Path:
        local = local_source(source)
        if local is None:
            return self._url(source)
        self._checked(local)
        return local

    def _url(self, url: str) -> Partial:
        partial = Partial(self.folder, url)
        try:
            self._complete(partial)
            self._checked(partial.path, partial)
        except BaseException:
            partial.close()
            raise
        finally:
            self.progress.end()
        told = f"complete, {partial.size:,} bytes, sha256 {partial.sha256}"
        self.progress.note(f"{self.public(shown(url))}: {told}")
        return partial

    def _complete(self, partial: Partial) -> None:
        """Try until nothing is missing. Raises SourceError when tries or time are used up."""
        deadline = time.monotonic() + self.limits.max_seconds
        transfer = Transfer(partial, self.limits, self.key, self.progress, deadline)
        retry, mark = fresh_retry(self.limits), partial.size
        while not partial.complete:
            try:
                transfer.attempt()
            except TryError as fault:
                if partial.size - mark >= self.limits.progress_bytes:
                    retry, mark = fresh_retry(self.limits), partial.size
                retry, pause = next_try(retry, fault, deadline)
                self.progress.note(self.public(f"{fault}; trying again in {pause:g} s"))
                time.sleep(pause)

    def _checked(self, path: Path, partial: Partial | None = None) -> None:
        """Have the caller judge what is here; what is refused and ours is forgotten."""
        try:
            if self.check:
                self.check(path)
        except MegaportError as error:
            if partial:
                partial.restart()
            raise SourceError(str(error)) from error


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
        retry = retry.increment(method="GET", url="", error=HTTPError(str(fault)))
    except MaxRetryError:
        raise SourceError(f"{fault} (no tries left)") from fault
    pause = retry.get_backoff_time()
    if fault.retry_after is not None:
        with suppress(HTTPError, ValueError, OverflowError):  # a senseless one counts for nothing
            pause = retry.parse_retry_after(fault.retry_after)
    if time.monotonic() + pause >= deadline:
        raise SourceError(f"{fault} (no time left)") from fault
    return retry, pause
