"""Immutable blobs by content: STORE/sha256/ab/<digest>, mode 0444, verified when used."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from megaport.store.atomic import sync_directory, sync_file
from megaport.store.stat_cache import StatCache


@dataclass(frozen=True)
class Content:
    """What a file holds: SHA-256 in hex and size in bytes."""

    sha256: str
    size: int

    def to_json(self) -> dict[str, str | int]:
        return {"sha256": self.sha256, "size": self.size}

    @classmethod
    def from_json(cls, value: dict[str, str | int]) -> Self:
        return cls(str(value["sha256"]), int(value["size"]))


class Blobs:
    """The blobs of one store folder."""

    def __init__(self, root: Path, stats: StatCache) -> None:
        self.folder = root / "sha256"
        self.stats = stats

    def path(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest

    def holds(self, content: Content) -> bool:
        """Whether the blob is here and its bytes are what its name says."""
        path = self.path(content.sha256)
        try:
            return path.stat().st_size == content.size and (
                self.stats.digest(path) == content.sha256
            )
        except OSError:
            return False

    def adopt(self, path: Path, digest: str | None = None) -> Content:
        """Move a finished file of this file system into the store; a good blob is kept as it is.

        `digest` is taken on trust where the writer hashed the bytes as it wrote them.
        """
        path.chmod(0o444)
        sync_file(path)
        content = Content(digest or self.stats.digest(path), path.stat().st_size)
        blob = self.path(content.sha256)
        if self.holds(content):
            path.unlink()
            return content
        blob.parent.mkdir(parents=True, exist_ok=True)
        path.replace(blob)
        sync_directory(blob.parent)
        self.stats.vouch(blob, content.sha256)
        return content

    def discard(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)

    def __iter__(self) -> Iterator[Path]:
        return (path for path in sorted(self.folder.glob("??/*")) if not path.name.startswith("."))
