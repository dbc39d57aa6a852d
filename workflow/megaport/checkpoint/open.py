"""The one way in: a path, and out comes a checked Checkpoint, whatever family it is of."""

import re
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from megaport.checkpoint.contents import Contents, UnknownLayoutError
from megaport.checkpoint.evidence import check_iteration
from megaport.checkpoint.files import open_files
from megaport.checkpoint.merge import merge
from megaport.checkpoint.model import FAMILIES, Checkpoint, Parts
from megaport.table import Decision
from megaport.tensors import total_bytes

# The modules of families, in the order they are asked, and the files that mark what they read. By
# what is cheapest to tell and most particular: NeMo's files look like rank files by their names.
_RANKS = r"(model_optim_rng|model_rng|mp_rank_\d+_model_states)\.pt|.*\.ckpt"
_READERS = (
    ("deepspeed_layers", r"(layer_\d+-model_\d+-|mp_rank_\d+_)model_states\.pt"),
    ("zarr", r"\.zarray"),
    ("torch_dist", r"\.metadata"),
    ("rank_files", _RANKS),
    ("nemo", _RANKS),
)
_UNMARKED = frozenset({"rank_files", "nemo"})  # what may read a lone file of any name


class Reader(Protocol):
    """What a module of families offers."""

    def recognise(self, contents: Contents) -> Decision | None:
        """The family that the files are of, and why; None where it is none of the module's."""

    def read(self, contents: Contents, family: Decision) -> Parts:
        """The parts of what was recognised."""


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
    return Contents(str(path), open_files(path, spool=spool), spool)


def read_checkpoint(contents: Contents, *, version: float | None = None) -> Checkpoint:
    """The checkpoint that opened files are, as `open_checkpoint`."""
    parts = _read(contents)
    every = (tensor for stage in parts.stages for s in stage.tensors.values() for tensor in s)
    contents.check_volume(total_bytes(every))
    check_iteration(contents, parts)
    return merge(contents, parts, version=version)


def _read(contents: Contents) -> Parts:
    """As the first family that knows these files reads them; only modules it needs are loaded."""
    for module in _modules(contents):
        reader = cast(Reader, import_module(f"megaport.checkpoint.families.{module}"))
        if family := reader.recognise(contents):
            return reader.read(contents, family)
    names = sorted(contents.files)
    raise UnknownLayoutError(
        contents.source,
        seen=f"{len(names)} files, such as {', '.join(names[:5]) or 'none'}, without tensors "
        "under any name that Megatron gave them",
        expected=f"a checkpoint of one of {', '.join(FAMILIES)}",
        remedy="Point at a Megatron checkpoint: its folder, its zip or its rank file.",
    )


def _modules(contents: Contents) -> list[str]:
    """The modules that may read every marked file; `UnknownLayoutError` for files of two saves."""
    kinds: dict[frozenset[str], str] = {}
    for name in sorted(contents.files):
        last = name.rsplit("/", 1)[-1]
        kinds.setdefault(frozenset(m for m, mark in _READERS if re.fullmatch(mark, last)), name)
    kinds.pop(frozenset(), None)
    able = frozenset.intersection(*(kinds or {_UNMARKED: ""}))
    if able:
        return [module for module, _ in _READERS if module in able]
    first = [name for kind, name in kinds.items() if not any(other < kind for other in kinds)]
    raise UnknownLayoutError(
        contents.source,
        seen=f"files of more than one save: {', '.join(first)}",
        expected="the files of one save",
        remedy="Move the files of the save that is not wanted elsewhere.",
    )
