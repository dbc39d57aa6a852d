"""From the names a family stores to canonical ones, and the tensors of one stage by them."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from megaport.checkpoint import canonical
from megaport.checkpoint.accounting import Accounting
from megaport.checkpoint.contents import flatten
from megaport.checkpoint.parts import Stage
from megaport.tensors import Tensor

Resolve = Callable[[str], str | None]
_LAYER = re.compile(r"layers\.(\d{1,9})\.(.+)")
_ALONE = frozenset({canonical.WORD, canonical.POSITION, canonical.HEAD, canonical.HEAD_COPY})
# Buffers that hold no parameter: Transformer Engine's FP8 state.
_NO_PARAMETER = "_extra_state"


def resolver(*stacks: str) -> Resolve:
    """Canonical names of tensors whose layers live under one of `stacks` (encoder, decoder, ...).

    The resolver gives None for a name that no GPT-2 of that family has.
    """

    def resolve(native: str) -> str | None:
        name = unwrapped(native).removeprefix("language_model.")
        stack, _, rest = name.partition(".")
        if stack in stacks:
            return _in_stack(rest)
        name = name.removeprefix("embedding.")
        return name if name in _ALONE else None

    return resolve


def unwrapped(native: str) -> str:
    """The name without what DistributedDataParallel and Float16Module put before it."""
    return re.sub(r"^(module\.)+", "", native)


def _in_stack(rest: str) -> str | None:
    found = _LAYER.fullmatch(rest)
    if not found:
        return canonical.FINAL_LEAVES.get(rest)
    leaf = canonical.LAYER_LEAVES.get(found[2])
    return canonical.layer_name(int(found[1]), leaf) if leaf else None


def is_ignorable(native: str) -> bool:
    """Whether the name is known to carry nothing of the model."""
    return native.endswith(_NO_PARAMETER) or f"{_NO_PARAMETER}/" in native


def stage_of(
    files: Sequence[str],
    trees: Sequence[Mapping[str, Any]],
    resolve: Resolve,
    accounting: Accounting,
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
                accounting.report("twice under different names", name, f"in {file}")
            else:
                named[name] = leaf
        ranks.append(named)
    tensors = _joined(files, ranks, accounting)
    return Stage(", ".join(files), tensors, tuple(unknown), tuple(ignored))


def _joined(
    files: Sequence[str], ranks: Sequence[Mapping[str, Tensor]], accounting: Accounting
) -> dict[str, tuple[Tensor, ...]]:
    every = dict.fromkeys(name for rank in ranks for name in rank)
    for name in every:
        for file, rank in zip(files, ranks, strict=True):
            if name not in rank:
                accounting.report("missing", name, f"in {file}")
    return {name: tuple(rank[name] for rank in ranks if name in rank) for name in every}
