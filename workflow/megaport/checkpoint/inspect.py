"""What a checkpoint is, as JSON data to look at; screen.py shows it to people."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.files import open_files
from megaport.checkpoint.model import Checkpoint, joined_shape
from megaport.checkpoint.open import open_contents, read_checkpoint
from megaport.checkpoint.version import AmbiguousVersionError
from megaport.table import Architecture
from megaport.tensors import total_bytes

_FACTS = (
    "family",
    "era",
    "serialization",
    "tensor_parallel",
    "pipeline_parallel",
    "virtual_pipeline",
    "version",
    "qkv_order",
    "iteration",
)


def inspect(
    path: Path, overrides: Mapping[str, Any], *, version: float | None = None, spool: Path
) -> dict[str, Any]:
    """The inspection of the checkpoint at `path`, whatever nobody states: that is None in it.

    `overrides` is the config's `architecture`, `version` its `checkpoint.version`. Raises as
    `open_checkpoint` and `describe_architecture` for what cannot be read.
    """
    undated = None
    contents = open_contents(path, spool=spool)
    try:
        checkpoint = read_checkpoint(contents, version=version)
    except AmbiguousVersionError as error:
        undated = error
        checkpoint = read_checkpoint(contents, version=2.0)
    found = inspection(checkpoint, describe_architecture(checkpoint, overrides, draft=True))
    return _undated(found, undated) if undated else found


def _undated(found: dict[str, Any], error: AmbiguousVersionError) -> dict[str, Any]:
    """Nothing that the version decides is known: which one was read is nobody's business."""
    unknown = {"value": None, "reason": f"{error.seen}. {error.remedy}".rstrip(".")}
    found["checkpoint"] |= {"version": None, "qkv_order": None}
    found["decisions"] = [
        decision | unknown if decision["subject"] == "qkv_order" else decision
        for decision in found["decisions"]
    ]
    return found


def inspection(checkpoint: Checkpoint, architecture: Architecture) -> dict[str, Any]:
    """JSON data: facts, architecture, decisions (reason, override), tensors, ignored, args.

    Holds no path, time or host, so the same checkpoint gives the same bytes anywhere.
    """
    decisions = (*checkpoint.decisions, *architecture.decisions)
    shards = [shard for held in checkpoint.tensors.values() for shard in held]
    return {
        "checkpoint": {key: getattr(checkpoint, key) for key in _FACTS},
        "architecture": _numbers(architecture),
        # Numbers that are trained, of the padded vocabulary; a tied head counts once.
        "parameters": sum(int(shard.array.size) for shard in shards),
        "bytes": total_bytes(shards),
        "decisions": [asdict(decision) for decision in decisions],
        "tensors": [_tensor(checkpoint, name) for name in checkpoint.tensors],
        "ignored": list(checkpoint.ignored),
        "args": None if checkpoint.args is None else dict(sorted(checkpoint.args.items())),
    }


def _numbers(architecture: Architecture) -> dict[str, Any]:
    """Without those that only other architectures have; `n_head` is None where nobody states it."""
    numbers = asdict(architecture)
    del numbers["decisions"]
    there = {key: value for key, value in numbers.items() if value is not None}
    return there | {"n_head": architecture.n_head or None}


def _tensor(checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    shards = checkpoint.tensors[name]
    return {
        "name": name,
        "dtype": shards[0].dtype,
        "shape": list(joined_shape(checkpoint.table, name, shards)),
        "shards": len(shards),
        "axis": checkpoint.table.row(name).axis if len(shards) > 1 else None,
    }


NAMES = ("vocab.json", "merges.txt")  # NeMo puts digits and what it was called before them
_MOST_BYTES = 1 << 26


def own_tokenizer(path: Path, *, spool: Path) -> dict[str, bytes]:
    """vocab.json and merges.txt of the checkpoint at `path`; {} where it has not one of each.

    Raises as `open_checkpoint` for files that cannot be opened.
    """
    facts = open_files(path, spool=spool).facts
    found: dict[str, bytes] = {}
    for name in NAMES:
        regions = [region for said, region in facts.items() if said.endswith(name)]
        if len(regions) != 1 or regions[0].size > _MOST_BYTES:
            return {}
        found[name] = bytes(regions[0].view)
    return found
