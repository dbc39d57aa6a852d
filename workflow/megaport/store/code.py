"""What computes a step: the bytes of the source files that its row names, versions of packages."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Code:
    """The Python files below `places`, folders or files of the library, and one `script`.

    Bytes, not syntax trees: what a reader of the receipt can check with sha256sum.
    """

    script: Path
    places: tuple[str, ...]

    def digest(self) -> str:
        """SHA-256 over names and bytes as they are now. Raises OSError."""
        total = hashlib.sha256(self.script.read_bytes() if self.places else b"")
        for path in self._files():
            name = path.relative_to(LIBRARY).as_posix()
            total.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return total.hexdigest()

    def _files(self) -> Iterator[Path]:
        for place in self.places:
            path = LIBRARY / place
            yield from sorted(_sources(path)) if path.is_dir() else [path]


def _sources(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix in (".py", ".cpp"))


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Version by name; a package that is not installed counts as "absent"."""
    return {package: _version(package) for package in sorted(packages)}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
