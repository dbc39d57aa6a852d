"""The bytes of one URL so far: one locked `.part` file, its ETag and its full size beside it.

The name holds the machine's, as a lock on some network file systems is known to one machine only.
Who cannot have the lock, because another run has it or locks do not work, takes a file of a name
that nobody else knows, and leaves nothing to resume.
"""

import fcntl
import hashlib
import json
import os
import platform
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from megaport.errors import MegaportError
from megaport.store.disk import make_folder

BLOCK = 1 << 20


class PartialError(MegaportError):
    """The disk did not take what the network gave."""


class Partial:
    """An open partial file. Every method raises PartialError where the disk fails.

    `size` bytes of `total` are here, hashed; `validator` is what If-Range may quote. Total and
    validator are None where nobody said.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        with _disk(folder):
            make_folder(folder)
            path = _name(folder, url, platform.node())
            file = _locked(path)
            self.resumable = file is not None
            self.path = path if file else _name(folder, url, secrets.token_hex(8))
            self.file = file or self.path.open("x+b", buffering=0)
            self._read()

    def _read(self) -> None:
        """Hash what an earlier run left, where it can be used or continued."""
        self.digest = hashlib.sha256()
        while block := self.file.read(BLOCK):
            self.digest.update(block)
        self.size = self.file.tell()
        self.validator, self.total = _description(_beside(self.path))
        if self.size and self.validator is None and not self.complete:
            self.restart()

    @property
    def sha256(self) -> str:
        return self.digest.hexdigest()

    @property
    def complete(self) -> bool:
        return self.size > 0 and self.size == self.total

    def restart(self, validator: str | None = None, total: int | None = None) -> None:
        """Forget every byte; the next ones are of a body with this validator and size."""
        with _disk(self.path):
            self.file.seek(0)
            self.file.truncate()
        self.size, self.digest = 0, hashlib.sha256()
        self._describe(validator, total)

    def append(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        with _disk(self.path):
            while rest:
                written = self.file.write(rest)
                self.digest.update(rest[:written])
                self.size += written
                rest = rest[written:]

    def finish(self) -> None:
        """Nothing is missing: make the bytes durable and say so."""
        with _disk(self.path):
            os.fsync(self.file.fileno())
        self._describe(self.validator, self.size)

    def close(self) -> None:
        """Keep the bytes for a later run; leave nothing where it could not use them."""
        if not self.size or not self.resumable:
            _remove(self.path)
        self.file.close()

    def move(self, target: Path) -> Path:
        """Give the file another name, on the same file system. Raises OSError."""
        _beside(self.path).unlink(missing_ok=True)
        self.path.replace(target)
        self.file.close()
        return target

    def _describe(self, validator: str | None, total: int | None) -> None:
        self.validator, self.total = validator, total
        new = self.path.with_suffix(".new")
        with _disk(self.path):
            new.write_text(json.dumps({"validator": validator, "total": total}))
            new.replace(_beside(self.path))


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PartialError(
            f"partial download {path}",
            seen=error.strerror or type(error).__name__,
            expected="a folder that takes the bytes",
            remedy="Free some space, or point `store:` in config.yaml to a disk that has it. "
            "Then run the same command: it resumes.",
        ) from error


def remove_leftover(folder: Path, url: str) -> None:
    """Delete what an earlier run left of a URL, unless a run is at work on it."""
    path = _name(folder, url, platform.node())
    if path.exists() and (file := _locked(path)):
        _remove(path)
        file.close()


def _name(folder: Path, url: str, owner: str) -> Path:
    """Of the URL a part of its digest, for it may be secret."""
    return folder / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.{owner}.part"


def _beside(path: Path) -> Path:
    return path.with_suffix(".json")


def _remove(path: Path) -> None:
    for each in (path, _beside(path)):
        with suppress(OSError):
            each.unlink()


def _locked(path: Path) -> FileIO | None:
    """The file of that name, locked for this process's life; None where that cannot be.

    Raises OSError.
    """
    while True:
        try:
            file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
        except PermissionError:  # another user's
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
        # Whoever had the lock may have moved the file away meanwhile: it is theirs.
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        file.close()


def _description(path: Path) -> tuple[str | None, int | None]:
    """Validator and total; None and None where the file is missing or damaged."""
    try:
        value = json.loads(path.read_text())
        validator, total = value["validator"], value["total"]
    except (OSError, ValueError, TypeError, KeyError):
        return None, None
    sound = isinstance(validator, str | None) and isinstance(total, int | None)
    return (validator, total) if sound else (None, None)
