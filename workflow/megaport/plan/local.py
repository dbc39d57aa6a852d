"""A local checkpoint: where it lies, and the digest of every file of it that counts."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from megaport.checkpoint.files import source_files
from megaport.store.stat_cache import StatCache


def find(path: str, folders: Iterable[Path]) -> Path:
    """An absolute path as it is; a relative one below the first of `folders` that has it."""
    candidates = [folder / Path(path).expanduser() for folder in folders]
    return next((candidate for candidate in candidates if candidate.exists()), candidates[0])


def file_contents(path: Path, stats: StatCache) -> dict[str, dict[str, Any]]:
    """Name -> sha256 and size of the files of a checkpoint, hashed only where stat changed.

    Raises MegaportError where `path` holds no checkpoint, OSError where it cannot be read.
    """
    return {
        name: {"sha256": stats.digest(file), "size": file.stat().st_size}
        for name, file in sorted(source_files(path).items())
    }
