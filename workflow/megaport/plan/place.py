"""The working directory: refused where it is read-only, as Snakemake would end in a traceback."""

import os
from pathlib import Path

from megaport.store.errors import StoreError


def require_writable(folder: Path) -> None:
    """Raises StoreError where Snakemake cannot keep its notes in `folder`/.snakemake."""
    notes = folder / ".snakemake"
    if not os.access(notes if notes.exists() else folder, os.W_OK):
        raise StoreError(
            f"working directory {folder}",
            seen="that it cannot be written to",
            expected="a folder for results/ and for Snakemake's notes",
            remedy="Run the command in such a folder, or name one with --directory.",
        )
