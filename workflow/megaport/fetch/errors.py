"""How a download ends badly: for one try, for one source, and for all of them."""

from collections.abc import Sequence

from megaport.errors import MegaportError

KEYS_PAGE = "https://org.ngc.nvidia.com/setup/api-keys"  # where NGC gives out keys


class TryError(Exception):
    """One try ended early; the same source may do better at the next."""

    def __init__(self, reason: str, retry_after: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class SourceError(Exception):
    """This source will not do, however often it is asked; the next one may."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


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
