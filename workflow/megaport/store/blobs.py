"""Immutable blobs by content: STORE/sha256/ab/<digest>, mode 0444, verified when used."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from megaport.store.atomic import make_folder, sync_directory, sync_file
from megaport.store.stat_cache import HEX, StatCache


@dataclass(frozen=True)
class Content:
    """What a file holds: SHA-256 in hex and size in bytes."""

    sha256: str
    size: int

    def to_json(self) -> dict[str, str | int]:
        return {"sha256": self.sha256, "size": self.size}

    @classmethod
    def from_json(cls, value: dict[str, str | int]) -> Self:
        """Raises ValueError for what is no digest: it becomes a part of a path."""
        digest = str(value["sha256"])
        if not HEX.fullmatch(digest):
            raise ValueError(f"{digest!r} is no SHA-256")
        return cls(digest, int(value["size"]))


class Blobs:
    """The blobs of one store folder, and of read-only ones below it."""

    def __init__(self, root: Path, stats: StatCache, below: Sequence[Path] = ()) -> None:
        self.folder = root / "sha256"
        self.below = [folder / "sha256" for folder in below]
        self.stats = stats

    def path(self, digest: str) -> Path:
        """Where the blob lies, or would lie, in the store itself."""
        return self.folder / digest[:2] / digest

    def find(self, content: Content) -> Path | None:
        """The first good blob of that content, here or below: its bytes are what its name says."""
        digest = content.sha256
        for folder in (self.folder, *self.below):
            path = folder / digest[:2] / digest
            if shows(self.stats, content, path):
                return path
        return None

    def holds(self, content: Content) -> bool:
        return self.find(content) is not None

    def owns(self, content: Content) -> bool:
        """Whether the store itself holds it: its actions lean on nothing below, which may go."""
        return shows(self.stats, content, self.path(content.sha256))

    def adopt(self, path: Path, digest: str | None = None) -> Content:
        """Move a finished file of this file system into the store; a good blob is kept as it is.

        `digest` is taken on trust where the writer hashed the bytes as it wrote them.
        """
        path.chmod(0o444)
        content = Content(digest or self.stats.digest(path), path.stat().st_size)
        if self.owns(content):
            path.unlink()
            return content
        sync_file(path)
        blob = self.path(content.sha256)
        make_folder(blob.parent)
        path.replace(blob)
        sync_directory(blob.parent)
        self.stats.vouch(blob, content.sha256)
        return content

    def __iter__(self) -> Iterator[Path]:
        return (path for path in sorted(self.folder.glob("??/*")) if not path.name.startswith("."))


def shows(stats: StatCache, content: Content, name: Path) -> bool:
    """Whether the file behind `name` holds `content` now (a stat where nothing changed)."""
    try:
        return name.stat().st_size == content.size and stats.digest(name) == content.sha256
    except OSError:
        return False
