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
from megaport.store.disk import make_folder, sync, temporary_sibling

Basis = Literal["pinned", "trusted", "first use"]
AGAIN = "fetch them again (snakemake -c1 -R download)"


class DigestError(MegaportError):
    """The bytes are not those that were pinned or seen before."""


class TrustError(MegaportError):
    """A record of trust that cannot be read or written."""


def content_digest(digests: Mapping[str, str]) -> str:
    """One content file: its own SHA-256. Several: that of the lines "sha256  name", sorted.

    `digests` maps names to hex digests; there is at least one.
    """
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = sorted(f"{digest}  {name}\n" for name, digest in digests.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_pin(digest: str, pinned: str, key: str) -> None:
    """Raises DigestError where content is not what `key`, a config key, pins."""
    if digest != pinned:
        raise DigestError(
            "checkpoint content",
            seen=f"sha256 {digest}",
            expected=f"{pinned} (from {key} in config.yaml)",
            remedy=f"The bytes are damaged or another version: {AGAIN} or take another source. "
            f"Change {key} only if you know the new bytes to be right.",
        )


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
            digest = json.loads(self.path.read_text("utf-8"))["sha256"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._damaged(f"{type(error).__name__} when reading it") from error
        except (TypeError, KeyError) as error:
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
            sync(new)
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

        With a pin the record is neither read nor written: the pin is the stronger promise. Raises
        DigestError, which names both digests and `key`, the config key of the pin; TrustError.
        """
        if pinned:
            check_pin(digest, pinned, key)
            return "pinned"
        before = self.read()
        trusted = before or self.record(digest)
        if digest != trusted:
            raise DigestError(
                "checkpoint content",
                seen=f"sha256 {digest}",
                expected=f"{trusted} (from the first use)",
                remedy="Nothing is pinned, so the first use counts, and the bytes have changed "
                f"since. If the change is meant, set {key}: {digest}; else {AGAIN}.",
            )
        return "trusted" if before else "first use"

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
