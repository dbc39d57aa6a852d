"""What must not lie beside a step's names: left by a killed run, or of another configuration."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from megaport.store.atomic import left_over


def sweep(names: set[Path]) -> None:
    """Remove what a killed run left beside names that nobody else writes now."""
    for folder in {path.parent for path in names}:
        for path in left_over(folder):
            if path.with_name(path.name[1:].rsplit(".", 3)[0]) in names:
                path.unlink(missing_ok=True)


def clear(folder: Path, patterns: Iterable[str], wanted: set[Path]) -> None:
    """Remove the files below `folder` that match a pattern and are not wanted: tools would open
    what lies there. Folders left empty go as well."""
    for pattern in patterns:
        for path in sorted(folder.glob(pattern), reverse=True):  # a folder after its files
            if path.is_dir():
                with suppress(OSError):  # not empty
                    path.rmdir()
            elif path not in wanted:
                path.unlink(missing_ok=True)
