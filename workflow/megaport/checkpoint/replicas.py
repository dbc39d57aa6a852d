"""Tensors that ranks or stages hold more than once: bit-equal, or something is wrong."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from megaport.checkpoint import canonical
from megaport.checkpoint.accounting import Accounting
from megaport.checkpoint.model import Decision
from megaport.tensors import STORAGE, Tensor

Shards = tuple[Tensor, ...]
BLOCK_BYTES = 1 << 20
KEY = "models.<name>.architecture.tie_word_embeddings"


def same_bits(first: Tensor, second: Tensor) -> bool:
    """Whether dtype, shape and every bit agree (NaN equals itself); blockwise, nothing copied."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    rows = first.shape[0] if first.shape else 0
    if not rows:
        return first.array.tobytes() == second.array.tobytes()
    word = np.dtype(f"u{STORAGE[first.dtype].itemsize}")
    step = max(1, BLOCK_BYTES * rows // max(1, first.nbytes))
    return all(
        np.array_equal(
            first.array[start : start + step].view(word),
            second.array[start : start + step].view(word),
        )
        for start in range(0, rows, step)
    )


def collapse_replicas(tensors: dict[str, Shards], accounting: Accounting) -> None:
    """Keep one shard of each tensor that parallel ranks hold alike; report those unlike."""
    for name, shards in tensors.items():
        if len(shards) == 1 or canonical.shard_axis(name) is not None:
            continue
        for rank, shard in enumerate(shards):
            if not same_bits(shards[0], shard):
                accounting.report(
                    "unlike between ranks", name, f"tensor-parallel ranks 0 and {rank}"
                )
        tensors[name] = shards[:1]


def settle_head(
    tensors: dict[str, Shards],
    args: Mapping[str, Any] | None,
    accounting: Accounting,
    ignored: list[str],
) -> Decision:
    """Tied or untied; copies of the word embedding are checked, dropped and noted in `ignored`."""
    untie = (args or {}).get("untie_embeddings_and_output_weights")
    copy = tensors.pop(canonical.HEAD_COPY, None)
    if copy is not None:
        _drop_copy(canonical.HEAD_COPY, copy, tensors, accounting, ignored)
    head = tensors.get(canonical.HEAD)
    if untie or (untie is None and head and not _equals_word(head, tensors)):
        reason = "untie_embeddings_and_output_weights" if untie else "a head of its own is stored"
        return Decision("tie_word_embeddings", False, reason, None)
    if head is not None:
        del tensors[canonical.HEAD]
        _drop_copy(canonical.HEAD, head, tensors, accounting, ignored)
    return Decision("tie_word_embeddings", True, "no head of its own is stored", None)


def _equals_word(copy: Shards, tensors: Mapping[str, Shards]) -> bool:
    word = tensors.get(canonical.WORD, ())
    return len(word) == len(copy) and all(map(same_bits, word, copy))


def _drop_copy(
    name: str,
    copy: Shards,
    tensors: Mapping[str, Shards],
    accounting: Accounting,
    ignored: list[str],
) -> None:
    if canonical.WORD not in tensors:
        return
    if _equals_word(copy, tensors):
        ignored.append(f"{name}: a copy of the word embedding, bit-equal")
    else:
        accounting.report("unlike the word embedding it is tied to", name)
