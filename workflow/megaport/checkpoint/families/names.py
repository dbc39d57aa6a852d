"""From the names a family stores to canonical ones, and the tensors of one stage by them."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from megaport.checkpoint.contents import Contents, flatten
from megaport.checkpoint.model import Findings, Shards, Stage
from megaport.checkpoint.records import Unreadable
from megaport.table import Table
from megaport.tensors import Tensor

# Values that no weight has.
_PLAIN = (type(None), bool, int, float, str, bytes)
# All of a model that may be ignored: Transformer Engine's FP8 state, masks, what rotary positions
# are computed from, which follows from their base.
_NO_PARAMETER = re.compile(
    r"(.*\.)?(_extra_state(/.*|\.pt)?|attention_mask|causal_mask|masked_bias|rotary_pos_emb\.inv_freq)"
)
# And all beside it: what training keeps under the same roof.
_TRAINING = re.compile(
    r"(optimizer|chained_|(.*_)?rng_|random_|rerun_state_machine|(.*_)?scheduler|ft_state|tokens"
    r"|num_floating_point_operations_so_far|content_metadata|args|checkpoint_version|iteration"
    r"|grad_scaler|loss_scaler|dataloader|data_iterator|callbacks|loops|global_step|epoch).*"
)


def canonical(table: Table, stacks: Collection[str], native: str) -> str | None:
    """The canonical name of a tensor; None for one that the table does not know.

    Layers lie under one of `stacks` (encoder, decoder, ...).
    """
    name = unwrapped(native).removeprefix("language_model.")
    stack, _, rest = name.partition(".")
    if stack in stacks:
        return table.name(rest)
    return table.outside(name.removeprefix("embedding."))


def unwrapped(native: str) -> str:
    """The name without what DistributedDataParallel and Float16Module put before it, or NeMo."""
    return re.sub(r"^((module|model)\.)+", "", native)


def is_ignorable(native: str) -> bool:
    """Whether the name is known to carry nothing of the model."""
    return bool(_NO_PARAMETER.fullmatch(native))


def is_training_state(key: str) -> bool:
    """Whether what stands under this key beside the model, or among its keys, is not of it."""
    return bool(_TRAINING.fullmatch(key)) or is_ignorable(key)


def weights_beside(state: Mapping[str, Any], used: Collection[str]) -> Iterator[str]:
    """Names of tensors outside `used` keys and training's state: nobody knows whose they are."""
    for key, value in state.items():
        if key in used or is_training_state(str(key)):
            continue
        held = flatten(value, f"{key}.") if isinstance(value, dict) else [(str(key), value)]
        yield from (name for name, leaf in held if isinstance(leaf, Tensor | Unreadable))


def stage_of(
    contents: Contents,
    files: Sequence[str],
    trees: Sequence[Mapping[str, Any]],
    table: Table,
    stacks: Sequence[str],
) -> Stage:
    """One stage from what its tensor-parallel ranks hold, `trees[r]` being that of `files[r]`.

    Layers lie under one of `stacks`. Reports a tensor that a rank lacks, naming its file, and two
    names for one tensor.
    """
    findings = contents.findings
    unknown: dict[str, None] = {}
    ignored: dict[str, None] = {}
    ranks = []
    for file, tree in zip(files, trees, strict=True):
        named: dict[str, Tensor] = {}
        for native, leaf in flatten(tree):
            name = canonical(table, stacks, native)
            if is_ignorable(native) or isinstance(leaf, _PLAIN):
                ignored[native] = None
            elif not isinstance(leaf, Tensor):
                why = leaf.reason if isinstance(leaf, Unreadable) else f"a {type(leaf).__name__}"
                findings.report("unreadable", native, f"{why} in {file}")
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
    rows, rest = divmod((tensor.shape or (0,))[0], parts)
    if parts == 1 or rest or not rows:
        return (tensor,)
    return tuple(
        Tensor(tensor.dtype, tensor.array[part * rows : (part + 1) * rows]) for part in range(parts)
    )
