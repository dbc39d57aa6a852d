"""SHA-256 of files, remembered by what stat says of them.

A digest is remembered under (device, inode, size, mtime, ctime). The kernel moves ctime on every
write, chmod or rename and no user call can set it back, so an unchanged tuple means unchanged
bytes, except within one tick of the file system's clock: files younger than RACY_NS are hashed
but not remembered (the "racy git" problem, git's Documentation/technical/racy-git.txt).
"""

import hashlib
import os
import re
import time
from contextlib import suppress
from pathlib import Path

from megaport.store.atomic import replacing
from megaport.store.canonical import digest_json

RACY_NS = 50_000_000
HEX = re.compile(r"[0-9a-f]{64}")


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
        before = path.stat()
        remembered = self._recall(before)
        if remembered:
            return remembered
        digest = sha256_file(path)
        settled = time.time_ns() - max(before.st_ctime_ns, before.st_mtime_ns) > RACY_NS
        if settled and stat_identity(path.stat()) == stat_identity(before):
            self._remember(before, digest)
        return digest

    def vouch(self, path: Path, digest: str) -> None:
        """Remember the digest of a file nobody else could have written to since it was hashed."""
        self._remember(path.stat(), digest)

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
