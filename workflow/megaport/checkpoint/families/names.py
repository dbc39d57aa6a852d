"""From the names a family stores to canonical ones, and the tensors of one stage by them."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from megaport.checkpoint.contents import flatten
from megaport.checkpoint.findings import Findings
from megaport.checkpoint.stages import Stage
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
    resolve: Resolve,
    findings: Findings,
) -> Stage:
    """One stage from what its tensor-parallel ranks hold, `trees[r]` being that of `files[r]`.

    Reports a tensor that a rank lacks, naming its file, and two names for one tensor.
    """
    unknown: dict[str, None] = {}
    ignored: dict[str, None] = {}
    ranks = []
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
    tensors = _joined(files, ranks, findings)
    return Stage(", ".join(files), tensors, tuple(unknown), tuple(ignored))


def _joined(
    files: Sequence[str], ranks: Sequence[Mapping[str, Tensor]], findings: Findings
) -> dict[str, tuple[Tensor, ...]]:
    every = dict.fromkeys(name for rank in ranks for name in rank)
    for name in every:
        for file, rank in zip(files, ranks, strict=True):
            if name not in rank:
                findings.report("missing", name, f"in {file}")
    return {name: tuple(rank[name] for rank in ranks if name in rank) for name in every}
