"""THE digest of a checkpoint's content, and whether it is the one that is pinned or was trusted.

What a model's unpinned content was when it was first seen is trusted from then on: one small file a
model and its sources, STORE/trust/<digest of both>.json; the first writer wins.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

from megaport.errors import MegaportError
from megaport.fetch.sources import shown
from megaport.store.content import HEX
from megaport.store.disk import make_folder, sync_file, temporary_sibling

Basis = Literal["pinned", "trusted", "first use"]
AGAIN = "fetch them again (snakemake -c1 -R download)"


class DigestError(MegaportError):
    """The bytes are not those that were pinned or seen before."""


class TrustError(MegaportError):
    """A record of trust that cannot be read or written."""


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
) -> Basis:
    """Hold the content digest against the pin; without one against what the first use was.

    `key` is the config key the pin comes from. Returns what it was held against. Raises
    DigestError, naming both digests and the key, where they differ.
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
        return "first use"
    if digest != promised:
        raise DigestError(
            "checkpoint content",
            seen=f"sha256 {digest}",
            expected=f"{promised} (from {source})",
            remedy=remedy,
        )
    return basis


class Trust:
    """The record of one model with these sources in one store."""

    def __init__(self, store: Path, model: str, sources: Sequence[str]) -> None:
        """The path depends on the model's name and its set of sources, without their secrets."""
        self.identity = {"model": model, "sources": sorted(map(shown, sources))}
        spelled = json.dumps(self.identity, sort_keys=True, separators=(",", ":"))
        name = hashlib.sha256(spelled.encode()).hexdigest()
        self.path = store / "trust" / f"{name}.json"

    @classmethod
    def of(cls, store: Path, model: str, path: str | None, urls: Sequence[str]) -> Self:
        """The record of a configured model: a path is taken before URLs."""
        return cls(store, model, [path] if path else urls)

    def settles(self, digest: str, pinned: str | None) -> bool:
        """Whether content is the pinned one, or without a pin the one on record."""
        with suppress(TrustError):
            return digest == (pinned or self.read())
        return False

    def read(self) -> str | None:
        """The content digest on record; None where there is no record.

        Raises TrustError where the record is damaged: it must not pass for a first use.
        """
        try:
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._damaged(f"{type(error).__name__} when reading it") from error
        try:
            digest = json.loads(text)["sha256"]
        except (ValueError, TypeError, KeyError) as error:
            raise self._damaged("a file without the key sha256") from error
        if not isinstance(digest, str) or not HEX.fullmatch(digest):
            raise self._damaged("a sha256 that is none")
        return digest

    def record(self, digest: str) -> str:
        """Record a digest unless one is on record; return the one that is, the first writer's.

        Raises TrustError where the store cannot be written.
        """
        text = json.dumps(self.identity | {"sha256": digest}, indent=2, sort_keys=True) + "\n"
        new = temporary_sibling(self.path)
        try:
            make_folder(self.path.parent)
            new.write_text(text, "utf-8")
            new.chmod(0o644)  # whatever the umask: who may use the store may read what it trusts
            sync_file(new)
            _publish_first(new, self.path)
        except OSError as error:
            raise TrustError(
                f"trust record {self.path}",
                seen=error.strerror or type(error).__name__,
                expected="a store that takes it",
                remedy="Free some space, or point `store:` in config.yaml to a writable folder.",
            ) from error
        finally:
            with suppress(OSError):
                new.unlink(missing_ok=True)
        return self.read() or digest

    def verify(self, digest: str, pinned: str | None, key: str) -> Basis:
        """Enforce the pin, else the record, else make the record; which of them it was.

        Raises DigestError, TrustError.

        With a pin the record is neither read nor written: the pin is the stronger promise.
        """
        trusted = None if pinned else self.read()
        basis = check_content(digest, pinned=pinned, trusted=trusted, key=key)
        if basis == "first use":
            check_content(digest, pinned=None, trusted=self.record(digest), key=key)
        return basis

    def _damaged(self, seen: str) -> TrustError:
        return TrustError(
            f"trust record {self.path}",
            seen=seen,
            expected="a JSON object with the sha256 of the content first used",
            remedy="Pin the right digest (checkpoint.sha256 in config.yaml), or delete the record "
            "to trust the next download anew.",
        )


def _publish_first(new: Path, path: Path) -> None:
    """Name a finished file unless the name is taken; without hard links, last writer wins."""
    try:
        os.link(new, path)
    except FileExistsError:
        return
    except OSError:
        if not path.exists():
            new.replace(path)
