"""From a converted file back to Megatron's rows: parity's own mapping, shared with nothing.

Written against Conv1D ([in, out], transformers' GPT-2) and the row orders of formats.md.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from megaport.parity.rounding import add_one, cast
from megaport.parity.subject import Subject
from megaport.tensors import Array, Tensor

PARTS = {
    "input_layernorm": "ln_1",
    "attention.query_key_value": "attn.c_attn",
    "attention.dense": "attn.c_proj",
    "post_attention_layernorm": "ln_2",
    "mlp.dense_h_to_4h": "mlp.c_fc",
    "mlp.dense_4h_to_h": "mlp.c_proj",
}
WHOLE = {
    "word_embeddings": "transformer.wte",
    "position_embeddings": "transformer.wpe",
    "final_layernorm": "transformer.ln_f",
    "output_layer": "lm_head",
}
VOCABULARY = ("word_embeddings.weight", "output_layer.weight")
ROW_PARALLEL = ("attention.dense.weight", "mlp.dense_4h_to_h.weight")
COLUMN_PARALLEL = ("mlp.dense_h_to_4h.weight", "mlp.dense_h_to_4h.bias")


@dataclass(frozen=True)
class Shard:
    """What rank `rank` holds of a tensor, and the same elements as the converted file has them."""

    name: str
    rank: int
    expected: Tensor
    found: Array


def hugging_face_name(name: str) -> str:
    """The name in a GPT2LMHeadModel file of a canonical Megatron `name`."""
    stem, kind = name.rsplit(".", 1)
    if stem in WHOLE:
        return f"{WHOLE[stem]}.{kind}"
    _, layer, part = stem.split(".", 2)
    return f"transformer.h.{layer}.{PARTS[part]}.{kind}"


def shards_of(subject: Subject, name: str, converted: Array) -> Iterator[Shard]:
    """Every rank's share of `name`, cut out of the `converted` tensor's raw elements.

    Vocabulary rows beyond vocab_size are padding and compared with nothing. Raises ValueError
    where the converted tensor has a shape that cannot be cut so.
    """
    held = subject.checkpoint.tensors[name]
    cut = _cutter(subject, name, len(held))
    start = 0
    for rank, tensor in enumerate(held):
        kept = tensor
        if name in VOCABULARY:
            size = max(0, min(len(tensor.array), subject.architecture.vocab_size - start))
            kept = Tensor(tensor.dtype, tensor.array[:size])
            found = converted[start : start + size]
            start += len(tensor.array)
        else:
            found = cut(converted, rank)
        yield Shard(name, rank, _as_stored(subject, name, kept), found)


def _as_stored(subject: Subject, name: str, tensor: Tensor) -> Tensor:
    if subject.architecture.layernorm_1p and name.endswith("layernorm.weight"):
        return add_one(tensor, subject.stored)
    return cast(tensor, subject.stored)


def _cutter(subject: Subject, name: str, ranks: int) -> Callable[[Array, int], Array]:
    if "query_key_value" in name:
        return lambda array, rank: _query_key_value(subject, array.T, rank, ranks)
    if name.endswith(ROW_PARALLEL):
        return lambda array, rank: np.split(array.T, ranks, axis=1)[rank]
    if name.endswith(COLUMN_PARALLEL):
        return lambda array, rank: np.split(array.T, ranks, axis=0)[rank]
    return lambda array, rank: array


def _query_key_value(subject: Subject, rows: Array, rank: int, ranks: int) -> Array:
    """`rows` [3H, ...] of all queries, all keys, all values -> a rank's rows in its own order."""
    heads = subject.architecture.n_head
    split = rows.reshape(3, heads, -1, *rows.shape[1:])
    mine = np.split(split, ranks, axis=1)[rank]
    axes = [["3", "np", "hn"].index(axis) for axis in subject.checkpoint.qkv_order.split(",")]
    ordered = mine.transpose(*axes, *range(3, mine.ndim))
    return ordered.reshape(-1, *rows.shape[1:])
