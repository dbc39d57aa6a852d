"""The one way in: a path, and out comes a checked Checkpoint."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from megaport.checkpoint.configuration import read_json
from megaport.checkpoint.contents import Contents
from megaport.checkpoint.evidence import check_iteration
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
    """Read the checkpoint at `path` (archive, rank file or folder); nothing of it is executed.

    `version` is the config's `checkpoint.version`; `spool` a folder for scratch files, used only
    where a tensor lies in pieces or compressed. Every tensor is a view and lives as long as the
    files do. Raises a MegaportError that names what is wrong: `UnsupportedModelError` for a feature
    that no table expresses, `CheckpointMismatchError` listing every tensor that does not fit,
    `RankFilesError` for missing or foreign rank files, `AmbiguousVersionError` for QKV rows whose
    order nothing tells, and the errors of archives, pickles and torch files.
    """
    return read_checkpoint(open_contents(path, spool=spool), version=version)


def open_contents(path: Path, *, spool: Path) -> Contents:
    """The files at `path` that carry the model, mapped and not read yet, as `open_checkpoint`."""
    files = open_files(path, spool=spool)
    folders = (path.name, PurePath(files.folder).name)
    ignored = tuple(_shortened(files.ignored))
    return Contents(str(path), files, spool, files.facts, folders, ignored)


def read_checkpoint(contents: Contents, *, version: float | None = None) -> Checkpoint:
    """The checkpoint that opened files are, as `open_checkpoint`."""
    family, reason = recognise(contents)
    parts = family.read(contents, Findings(contents.source))
    every = (tensor for stage in parts.stages for s in stage.tensors.values() for tensor in s)
    contents.check_volume(total_bytes(every))
    check_iteration(contents.folders, parts)
    decided = replace(
        parts,
        decisions=(Decision("family", family.name, reason), *parts.decisions),
        ignored=tuple(shown_text(name, 200) for name in (*contents.ignored, *parts.ignored)),
        beside=_beside(contents),
    )
    return merge(decided, version=version)


def _beside(contents: Contents) -> dict[str, Any]:
    """What DeepSpeed's configuration says of the mathematics: sparse attention, or nothing."""
    said: dict[str, Any] = {}
    for name, region in contents.facts.items():
        if name.endswith("_config.json") and read_json(region).get("sparse_attention"):
            said["sparse_attention"] = f"in {name}"
    return said


def _shortened(names: Sequence[str]) -> Iterator[str]:
    """File names, and only the number of those beyond the first: optimizers have thousands."""
    yield from names[:_MOST_NAMED]
    if len(names) > _MOST_NAMED:
        yield f"and {len(names) - _MOST_NAMED} more files"
