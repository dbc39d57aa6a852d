"""The one set of names everything else uses, and the shape each name must have."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

WORD = "word_embeddings.weight"
POSITION = "position_embeddings.weight"
HEAD = "output_layer.weight"
# The copy of the word embedding that the last pipeline stage of a tied legacy model holds.
HEAD_COPY = "word_embeddings_for_head.weight"
QKV, DENSE = "attention.query_key_value", "attention.dense"
UP, DOWN = "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"
INPUT_NORM, POST_NORM, FINAL_NORM = "input_layernorm", "post_attention_layernorm", "final_layernorm"

# Every name a module of a layer had from 2019 on (formats.md, "Where the tensors are").
_MODULES = {
    "attention.query_key_value": QKV,
    "self_attention.query_key_value": QKV,
    "self_attention.linear_qkv": QKV,
    "attention.dense": DENSE,
    "self_attention.dense": DENSE,
    "self_attention.linear_proj": DENSE,
    "mlp.dense_h_to_4h": UP,
    "mlp.linear_fc1": UP,
    "mlp.dense_4h_to_h": DOWN,
    "mlp.linear_fc2": DOWN,
    "input_layernorm": INPUT_NORM,
    "input_norm": INPUT_NORM,
    "post_attention_layernorm": POST_NORM,
    "post_attention_norm": POST_NORM,
    "pre_mlp_layernorm": POST_NORM,
}
# Transformer Engine keeps the norm inside the linear layer that follows it.
_FUSED = {"self_attention.linear_qkv": INPUT_NORM, "mlp.linear_fc1": POST_NORM}

LAYER_LEAVES = {
    f"{module}.{kind}": f"{target}.{kind}"
    for module, target in _MODULES.items()
    for kind in ("weight", "bias")
} | {
    f"{module}.layer_norm_{kind}": f"{target}.{kind}"
    for module, target in _FUSED.items()
    for kind in ("weight", "bias")
}
FINAL_LEAVES = {
    f"{module}.{kind}": f"{FINAL_NORM}.{kind}"
    for module in ("final_layernorm", "final_norm")
    for kind in ("weight", "bias")
}
_LEAVES_OF_A_LAYER = tuple(dict.fromkeys(LAYER_LEAVES.values()))
_LAYER = re.compile(r"layers\.(\d{1,9})\.(.+)")


@dataclass(frozen=True)
class Sizes:
    """The sizes all shapes follow from; `vocab` is the padded number of rows."""

    hidden: int
    inner: int
    positions: int
    vocab: int


def layer_name(number: int, leaf: str) -> str:
    return f"layers.{number}.{leaf}"


def split_layer(name: str) -> tuple[int, str] | None:
    """`layers.N.leaf` as (N, leaf); None for a name outside the layers."""
    found = _LAYER.fullmatch(name)
    return (int(found[1]), found[2]) if found else None


def expected_names(layers: int, *, untied: bool) -> Iterator[str]:
    """Every canonical name of a GPT-2 of so many layers, in the order of the forward pass."""
    yield from (WORD, POSITION)
    for number in range(layers):
        yield from (layer_name(number, leaf) for leaf in _LEAVES_OF_A_LAYER)
    yield from (f"{FINAL_NORM}.weight", f"{FINAL_NORM}.bias")
    if untied:
        yield HEAD


def shard_axis(name: str) -> int | None:
    """The axis tensor parallelism cuts: 0 (columns of the product), 1 (rows), None (replicated)."""
    place = split_layer(name)
    leaf = place[1] if place else name
    if leaf in (WORD, HEAD, HEAD_COPY) or leaf.startswith((QKV, UP)):
        return 0
    return 1 if leaf in (f"{DENSE}.weight", f"{DOWN}.weight") else None


def full_shape(name: str, sizes: Sizes) -> tuple[int, ...]:
    """The shape of the joined tensor; linear weights are [output, input] as torch keeps them."""
    hidden, inner = sizes.hidden, sizes.inner
    place = split_layer(name)
    shapes: dict[str, tuple[int, ...]] = {
        WORD: (sizes.vocab, hidden),
        HEAD: (sizes.vocab, hidden),
        HEAD_COPY: (sizes.vocab, hidden),
        POSITION: (sizes.positions, hidden),
        f"{QKV}.weight": (3 * hidden, hidden),
        f"{QKV}.bias": (3 * hidden,),
        f"{DENSE}.weight": (hidden, hidden),
        f"{UP}.weight": (inner, hidden),
        f"{UP}.bias": (inner,),
        f"{DOWN}.weight": (hidden, inner),
    }
    return shapes.get(place[1] if place else name, (hidden,))
