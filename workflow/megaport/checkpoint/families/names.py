"""From the names a family stores to canonical ones, and the tensors of one stage by them."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from megaport.checkpoint.contents import flatten
from megaport.checkpoint.findings import Findings
from megaport.checkpoint.stages import Shards, Stage
from megaport.table import Table
from megaport.tensors import Tensor

Resolve = Callable[[str], str | None]
# Buffers that hold no parameter: Transformer Engine's FP8 state.
_NO_PARAMETER = "_extra_state"


def resolver(table: Table, *stacks: str) -> Resolve:
    """Canonical names of tensors whose layers live under one of `stacks` (encoder, decoder, ...).

    The resolver gives None for a name that the table does not know.
    """

    def resolve(native: str) -> str | None:
        name = unwrapped(native).removeprefix("language_model.")
        stack, _, rest = name.partition(".")
        if stack in stacks:
            return table.name(rest)
        return table.outside(name.removeprefix("embedding."))

    return resolve


def unwrapped(native: str) -> str:
    """The name without what DistributedDataParallel and Float16Module put before it."""
    return re.sub(r"^(module\.)+", "", native)


def is_ignorable(native: str) -> bool:
    """Whether the name is known to carry nothing of the model."""
    return native.endswith(_NO_PARAMETER) or f"{_NO_PARAMETER}/" in native


def stage_of(
    files: Sequence[str],
    trees: Sequence[Mapping[str, Any]],
    table: Table,
    stacks: Sequence[str],
    findings: Findings,
) -> Stage:
    """One stage from what its tensor-parallel ranks hold, `trees[r]` being that of `files[r]`.

    Layers lie under one of `stacks`. Reports a tensor that a rank lacks, naming its file, and two
    names for one tensor.
    """
    unknown: dict[str, None] = {}
    ignored: dict[str, None] = {}
    ranks = []
    resolve = resolver(table, *stacks)
    for file, tree in zip(files, trees, strict=True):
        named: dict[str, Tensor] = {}
        for native, leaf in flatten(tree):
            name = resolve(native)
            if is_ignorable(native) or not isinstance(leaf, Tensor):
                ignored[native] = None
            elif name is None:
                unknown[native] = None
            elif name in named:
                findings.report("twice under different names", name, f"in {file}")
            else:
                named[name] = leaf
        ranks.append(named)
    tensors = _joined(files, ranks, table, findings)
    return Stage(", ".join(files), tensors, tuple(unknown), tuple(ignored))


def _joined(
    files: Sequence[str], ranks: Sequence[Mapping[str, Tensor]], table: Table, findings: Findings
) -> dict[str, Shards]:
    every = dict.fromkeys(name for rank in ranks for name in rank)
    for name in every:
        for file, rank in zip(files, ranks, strict=True):
            if name not in rank:
                findings.report("missing", name, f"in {file}")
    return {
        name: tuple(
            part
            for rank in ranks
            if name in rank
            for part in _in_parts(rank[name], table.row(name).parts)
        )
        for name in every
    }


def _in_parts(tensor: Tensor, parts: int) -> Shards:
    """The parts that a rank keeps behind each other, as views; the whole where it does not fit."""
    rows = tensor.shape[0] // parts if tensor.shape else 0
    if rows * parts != (tensor.shape or (0,))[0]:
        return (tensor,)
    return tuple(
        Tensor(tensor.dtype, tensor.array[part * rows : (part + 1) * rows]) for part in range(parts)
    )
