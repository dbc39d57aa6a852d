"""The bytes of one URL so far, in a file of its own that is hashed as it grows.

Every download writes a new file, so that two at once never share one, with or without locks.
What an earlier run left for the same URL is copied up to where its journal's digest holds (it
has to be hashed anyway) and then removed if nobody writes it any more.
"""

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from megaport.fetch.errors import PartialError
from megaport.fetch.journal import SUFFIX, Journal, claim, leftovers, remove, remove_abandoned
from megaport.store.atomic import make_folder

BLOCK = 1 << 20
JOURNAL_SECONDS = 0.25  # what a killed run loses at most


class Partial:
    """An open partial file. Every method raises PartialError where the disk fails."""

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / f"{key}.{secrets.token_hex(4)}{SUFFIX}"
        with self._disk():
            make_folder(folder)
            self.file: FileIO = self.path.open("x+b", buffering=0)
        claim(self.file)
        self._start(validator=None, total=None)
        self._adopt_best(folder, key)

    def _start(self, validator: str | None, total: int | None) -> None:
        self.size = 0
        self.digest = hashlib.sha256()
        self.validator = validator
        self.total = total
        self.complete = False
        self._saved = 0.0

    @property
    def sha256(self) -> str:
        return self.digest.hexdigest()

    def restart(self, validator: str | None = None, total: int | None = None) -> None:
        """Forget every byte; the next ones are of a body with this validator and size."""
        with self._disk():
            self.file.seek(0)
            self.file.truncate()
        self._start(validator, total)

    def append(self, chunk: bytes) -> None:
        """Add bytes to the file and to the digest; the journal follows every now and then."""
        rest = memoryview(chunk)
        with self._disk():
            while rest:
                rest = rest[self.file.write(rest) :]
        self.digest.update(chunk)
        self.size += len(chunk)
        if time.monotonic() - self._saved >= JOURNAL_SECONDS:
            self.save()

    def save(self) -> None:
        """Bring the journal up to date."""
        journal = Journal(self.size, self.sha256, self.validator, self.total, self.complete)
        with self._disk():
            journal.write(self.path)
        self._saved = time.monotonic()

    def finish(self) -> None:
        """Nothing is missing: make the bytes durable, then say so in the journal."""
        with self._disk():
            os.fsync(self.file.fileno())
        self.complete = True
        self.restore()
        self.save()

    def restore(self) -> None:
        """Write the complete file again where another run removed it, deceived by its lock.

        On some network file systems a lock holds on one machine only.
        """
        if not self.path.exists():
            with self._disk(), self.path.open("xb") as copy:
                self.file.seek(0)
                shutil.copyfileobj(self.file, copy, BLOCK)
                os.fsync(copy.fileno())

    def close(self) -> None:
        """Keep the bytes for a later run; leave nothing where there are none."""
        if self.size:
            self.save()
            self.file.close()
        else:
            self.discard()

    def discard(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):
            self.file.close()
        remove(self.path)

    def _adopt_best(self, folder: Path, key: str) -> None:
        for path, journal in leftovers(folder, key):
            if self._adopt(path, journal):
                break
        remove_abandoned(folder, key, but=self.path)

    def _adopt(self, path: Path, journal: Journal) -> bool:
        """Copy another partial file up to its journal; False, and empty, where they disagree."""
        with suppress(OSError), path.open("rb") as source:
            while block := source.read(min(BLOCK, journal.size - self.size)):
                self.append(block)
        if (self.size, self.sha256) != (journal.size, journal.sha256):
            self.restart()
            return False
        self.validator, self.total = journal.validator, journal.total
        self.complete = journal.complete
        self.save()
        return True

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise PartialError(
                f"partial download {self.path}",
                seen=error.strerror or type(error).__name__,
                expected="a folder that takes the bytes",
                remedy="Free some space, or point `store:` in config.yaml to a disk that has it. "
                "Then run the same command: it resumes.",
            ) from error
