"""THE digest of a checkpoint's content, and whether it is the one that was promised."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from megaport.errors import MegaportError

Basis = Literal["pinned", "trusted", "first use"]
AGAIN = "fetch them again (snakemake -c1 -R download)"


class DigestError(MegaportError):
    """The bytes are not those that were pinned or seen before."""


@dataclass(frozen=True)
class Assurance:
    """The content digest, and what it was held against: the pin, an earlier use, or nothing."""

    digest: str
    basis: Basis

    @property
    def line_to_paste(self) -> str | None:
        """The line that pins this content in config.yaml; None where it is pinned."""
        return None if self.basis == "pinned" else f"sha256: {self.digest}"


def content_digest(digests: Mapping[str, str]) -> str:
    """One content file: its own SHA-256. Several: that of the lines "sha256  name", sorted.

    `digests` maps names to hex digests. Raises DigestError where there is none.
    """
    if not digests:
        raise DigestError(
            "checkpoint",
            seen="no file that holds model content",
            expected="at least one",
            remedy="Point `checkpoint` in config.yaml to a zip, a .pt or a checkpoint folder.",
        )
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = sorted(f"{digest}  {name}\n" for name, digest in digests.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_content(
    digest: str, *, pinned: str | None, trusted: str | None, key: str = "checkpoint.sha256"
) -> Assurance:
    """Hold the content digest against the pin; without one against what the first use was.

    `key` is the config key the pin comes from. Raises DigestError, naming both digests and the
    key, where they differ.
    """
    basis: Basis
    if pinned is not None:
        basis, promised, source = "pinned", pinned.lower(), f"{key} in config.yaml"
        remedy = (
            f"The bytes are damaged or another version: {AGAIN} or take another source. Change "
            f"{key} only if you know the new bytes to be right."
        )
    elif trusted is not None:
        basis, promised, source = "trusted", trusted, "the first use"
        remedy = (
            "Nothing is pinned, so the first use counts, and the bytes have changed since. If the "
            f"change is meant, set {key}: {digest}; else {AGAIN}."
        )
    else:
        return Assurance(digest, "first use")
    if digest != promised:
        raise DigestError(
            "checkpoint content",
            seen=f"sha256 {digest}",
            expected=f"{promised} (from {source})",
            remedy=remedy,
        )
    return Assurance(digest, basis)
