"""What partial downloads leave for later runs: files, and how far each may be trusted."""

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO

SUFFIX = ".part"


@dataclass(frozen=True)
class Journal:
    """What is known of a partial file: its first `size` bytes have the digest `sha256`.

    `validator` is the strong ETag or the date that If-Range takes (RFC 9110, section 13.1.5),
    `total` the announced size, `complete` whether nothing is missing.
    """

    size: int
    sha256: str
    validator: str | None
    total: int | None
    complete: bool

    def write(self, partial: Path) -> None:
        """Replace the journal of a partial file. Raises OSError."""
        path = journal_path(partial)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(self)))
        new.replace(path)

    @classmethod
    def read(cls, partial: Path) -> "Journal | None":
        """The journal of a partial file; None where it is missing or damaged."""
        try:
            value = json.loads(journal_path(partial).read_text())
            journal = cls(**{field.name: value[field.name] for field in fields(cls)})
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return journal if journal._is_sound() else None

    def _is_sound(self) -> bool:
        return (
            isinstance(self.size, int)
            and self.size >= 0
            and isinstance(self.sha256, str)
            and isinstance(self.complete, bool)
            and isinstance(self.validator, str | None)
            and isinstance(self.total, int | None)
        )


def partial_key(url: str) -> str:
    """What the partial files of a URL are named after: part of its digest, for it may be secret."""
    return hashlib.sha256(url.encode()).hexdigest()[:32]


def journal_path(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def leftovers(folder: Path, key: str) -> Iterator[tuple[Path, Journal]]:
    """Partial files of earlier or other runs with their journals, the longest first."""
    found = [(path, Journal.read(path)) for path in sorted(folder.glob(f"{key}.*{SUFFIX}"))]
    sound = [(path, journal) for path, journal in found if journal]
    return iter(sorted(sound, key=lambda pair: pair[1].size, reverse=True))


def claim(file: IO[bytes]) -> bool:
    """Lock an open file for this process's life; whether that worked and nobody else had it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def remove(partial: Path) -> None:
    """Delete a partial file and its journal, as far as that can be done."""
    for path in (partial, journal_path(partial), journal_path(partial).with_suffix(".new")):
        with suppress(OSError):
            path.unlink()


def remove_abandoned(folder: Path, key: str, but: Path | None = None) -> None:
    """Delete the partial files of a URL that no process holds, except one.

    Where locks do not work nothing is deleted. A file without a journal may be one second old
    and not locked yet; it holds a chunk at most, and goes with the next download.
    """
    for path, _ in leftovers(folder, key):
        with suppress(OSError), path.open("r+b") as file:
            if path != but and claim(file):
                remove(path)
