"""Tensors that ranks or stages hold more than once: bit-equal, or something is wrong."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from megaport.checkpoint.findings import Findings
from megaport.checkpoint.stages import Shards
from megaport.table import HEAD, HEAD_COPY, WORD, Decision, Table
from megaport.tensors import STORAGE, Tensor

_BLOCK_BYTES = 1 << 20


def same_bits(first: Tensor, second: Tensor) -> bool:
    """Whether dtype, shape and every bit agree (NaN equals itself); blockwise, nothing copied."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    rows = first.shape[0] if first.shape else 0
    if not rows:
        return first.array.tobytes() == second.array.tobytes()
    word = np.dtype(f"u{STORAGE[first.dtype].itemsize}")
    step = max(1, _BLOCK_BYTES * rows // max(1, first.nbytes))
    return all(
        np.array_equal(
            first.array[start : start + step].view(word),
            second.array[start : start + step].view(word),
        )
        for start in range(0, rows, step)
    )


def is_constant(tensor: Tensor) -> bool:
    """Whether all bits of every element are the first one's; ends at the first that differs."""
    array, word = np.atleast_1d(tensor.array), np.dtype(f"u{STORAGE[tensor.dtype].itemsize}")
    rows = max(1, _BLOCK_BYTES * len(array) // max(1, tensor.nbytes))
    first = np.ascontiguousarray(array[:1]).view(word).reshape(-1)[:1]
    return all(
        bool((np.ascontiguousarray(array[at : at + rows]).view(word) == first).all())
        for at in range(0, len(array), rows)
    )


def alike(first: Shards, second: Shards) -> bool:
    """Whether two tensors are the same bits, shard by shard."""
    return len(first) == len(second) and all(map(same_bits, first, second))


def collapse_copies(table: Table, tensors: dict[str, Shards], findings: Findings) -> None:
    """Keep one shard of each tensor that parallel ranks hold alike; report those unlike."""
    for name, shards in tensors.items():
        if len(shards) == 1 or table.row(name).axis is not None:
            continue
        for rank, shard in enumerate(shards):
            if not same_bits(shards[0], shard):
                ranks = f"tensor-parallel ranks 0 and {rank}"
                findings.report("unlike between ranks", name, ranks)
        tensors[name] = shards[:1]


def settle_head(
    tensors: dict[str, Shards],
    args: Mapping[str, Any] | None,
    findings: Findings,
    ignored: list[str],
) -> Decision:
    """Tied or untied; copies of the word embedding are checked, dropped and noted in `ignored`."""
    untie = (args or {}).get("untie_embeddings_and_output_weights")
    if untie is None and (args or {}).get("tie_word_embeddings") is False:
        untie = True
    word, head = tensors.get(WORD, ()), tensors.get(HEAD, ())
    own = bool(untie or (untie is None and head and not alike(word, head)))
    for name in (HEAD_COPY,) if own else (HEAD_COPY, HEAD):
        copy = tensors.pop(name, ())
        if copy and word and alike(word, copy):
            ignored.append(f"{name}: a copy of the word embedding, bit-equal")
        elif copy and word:
            findings.report("unlike the word embedding it is tied to", name)
    if not own:
        return Decision("tie_word_embeddings", True, "no head of its own is stored")
    said = "untie_embeddings_and_output_weights"
    return Decision("tie_word_embeddings", False, said if untie else "a head of its own is stored")
