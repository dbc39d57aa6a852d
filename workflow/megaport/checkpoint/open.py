"""The one way in: a path, and out comes a checked Checkpoint."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from megaport.checkpoint.contents import Contents
from megaport.checkpoint.files import open_files
from megaport.checkpoint.findings import Findings
from megaport.checkpoint.merge import merge
from megaport.checkpoint.model import Checkpoint
from megaport.checkpoint.registry import recognise
from megaport.errors import shown_text
from megaport.table import Decision
from megaport.tensors import total_bytes

_MOST_NAMED = 20


def open_checkpoint(path: Path, *, version: float | None = None, spool: Path) -> Checkpoint:
    """Read the checkpoint at `path` (zip, .pt or folder); nothing of it is ever executed.

    `version` is the config's `checkpoint.version`; `spool` a folder for scratch files, used only
    where a tensor lies in pieces or compressed. Every tensor is a view and lives as long as the
    files do. Raises a MegaportError that names what is wrong: `UnsupportedModelError` for a feature
    that no table expresses, `CheckpointMismatchError` listing every tensor that does not fit,
    `RankFilesError` for missing or foreign rank files, `AmbiguousVersionError` for QKV rows whose
    order nothing tells, and the errors of archives, pickles and torch files.
    """
    files = open_files(path, spool=spool)
    contents = Contents(str(path), files, spool, files.facts)
    family, reason = recognise(contents)
    parts = family.read(contents, Findings(str(path)))
    every = (tensor for stage in parts.stages for s in stage.tensors.values() for tensor in s)
    contents.check_volume(total_bytes(every))
    found = Decision("family", family.name, reason)
    ignored = tuple(shown_text(name, 200) for name in (*_shortened(files.ignored), *parts.ignored))
    decided = replace(parts, decisions=(found, *parts.decisions), ignored=ignored)
    return merge(decided, version=version)


def _shortened(names: Sequence[str]) -> Iterator[str]:
    """File names, and only the number of those beyond the first: optimizers have thousands."""
    yield from names[:_MOST_NAMED]
    if len(names) > _MOST_NAMED:
        yield f"and {len(names) - _MOST_NAMED} more files"
