"""What files hold, by SHA-256: of files, remembered by what stat says of them, and of JSON values.

A digest is remembered under (device, inode, size, mtime, ctime). The kernel moves ctime on every
write, chmod or rename and no user call can set it back, so an unchanged tuple means unchanged
bytes, except within one tick of the file system's clock: files younger than RACY_NS are hashed
but not remembered (the "racy git" problem, git's Documentation/technical/racy-git.txt).
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from megaport.store.disk import replacing

RACY_NS = 50_000_000
HEX = re.compile(r"[0-9a-f]{64}")


class Content(NamedTuple):
    """What a file holds: SHA-256 in hex and size in bytes."""

    sha256: str
    size: int


Files = Mapping[str, Content]


def files_to_json(files: Files) -> dict[str, dict[str, Any]]:
    return {name: content._asdict() for name, content in files.items()}


def files_from_json(value: Mapping[str, Any]) -> dict[str, Content]:
    """Raises ValueError for what is no digest: it becomes a part of a path."""
    files = {name: Content(str(item["sha256"]), int(item["size"])) for name, item in value.items()}
    for content in files.values():
        if not HEX.fullmatch(content.sha256):
            raise ValueError(f"{content.sha256!r} is no SHA-256")
    return files


def canonical_json(value: Any) -> bytes:
    """One spelling, so that equal values have equal digests: UTF-8 with sorted keys and no spaces.

    NaN and unknown types are refused (ValueError).
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def digest_json(value: Any) -> str:
    """SHA-256, in hex, of the canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256, in hex, of the bytes of `path`, streamed. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class StatCache:
    """Remembered digests, one small file each; losing any of them only costs a re-hash.

    `frozen`: nothing new is written down, as in a dry run.
    """

    def __init__(self, folder: Path, *, frozen: bool = False) -> None:
        self.folder = folder
        self.frozen = frozen
        self._known: dict[tuple[int, ...], str] = {}  # by this process: names share their blobs

    def digest(self, path: Path) -> str:
        """SHA-256 of `path` (symlinks followed), from memory where stat is unchanged."""
        return self._digest(path, path.stat())

    def shows(self, content: Content, name: Path) -> bool:
        """Whether the file behind `name` holds `content` now (a stat where nothing changed)."""
        try:
            now = name.stat()
            return now.st_size == content.size and self._digest(name, now) == content.sha256
        except OSError:
            return False

    def vouch(self, path: Path, digest: str) -> None:
        """Remember the digest of a file nobody else could have written to since it was hashed."""
        self._remember(path.stat(), digest)

    def _digest(self, path: Path, before: os.stat_result) -> str:
        remembered = self._recall(before)
        if remembered:
            return remembered
        digest = sha256_file(path)
        settled = time.time_ns() - max(before.st_ctime_ns, before.st_mtime_ns) > RACY_NS
        if settled and stat_identity(path.stat()) == stat_identity(before):
            self._remember(before, digest)
        return digest

    def _entry(self, stat: os.stat_result) -> Path:
        key = digest_json(stat_identity(stat))
        return self.folder / key[:2] / key

    def _recall(self, stat: os.stat_result) -> str | None:
        known = self._known.get(stat_identity(stat))
        if known is None:
            with suppress(OSError, UnicodeDecodeError):
                text = self._entry(stat).read_text(encoding="ascii")
                if HEX.fullmatch(text):
                    known = self._known[stat_identity(stat)] = text
        return known

    def _remember(self, stat: os.stat_result, digest: str) -> None:
        self._known[stat_identity(stat)] = digest
        if self.frozen:
            return
        with suppress(OSError), replacing(self._entry(stat)) as temporary:
            temporary.write_text(digest, encoding="ascii")  # a full store answers, only slower


def stat_identity(stat: os.stat_result) -> tuple[int, ...]:
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
