"""GPT-2 as Megatron computes it, and where its tensors lie in a GPT2LMHeadModel file.

Written from the GPT-2 and Megatron-LM papers (Radford et al. 2019; Shoeybi et al. 2019, section 3),
transformers' Conv1D ([in, out]) and the row orders of formats.md. The mapping is parity's own:
nothing here is shared with the converter's table.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from megaport.checkpoint.model import QKV_ORDERS
from megaport.parity.arithmetic import ACTIVATIONS
from megaport.parity.reference import Named, Reference
from megaport.parity.verdict import Cause, Value
from megaport.tensors import Array

QKV, PROJ = "attention.query_key_value", "attention.dense"
UP, DOWN = "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"
NORMS = ("input_layernorm", "post_attention_layernorm")
# Rows are looked up in these, which therefore are no Conv1D.
EMBEDDINGS = {
    "word_embeddings": ("transformer.wte",),
    "position_embeddings": ("transformer.wpe",),
    "output_layer": ("lm_head",),
}
NAMES = {
    **EMBEDDINGS,
    NORMS[0]: ("transformer.h.{}.ln_1",),
    QKV: ("transformer.h.{}.attn.c_attn",),
    PROJ: ("transformer.h.{}.attn.c_proj",),
    NORMS[1]: ("transformer.h.{}.ln_2",),
    UP: ("transformer.h.{}.mlp.c_fc",),
    DOWN: ("transformer.h.{}.mlp.c_proj",),
    "final_layernorm": ("transformer.ln_f",),
}
FIELDS = {
    name: name
    for name in ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size", "layer_norm_epsilon")
}
# What GPT2Config can switch on and Megatron's GPT-2 has not (GPT2Config's defaults).
FIXED = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}


class Gpt2Reference(Reference):
    """Learned positions, LayerNorm before each half of a block, GELU, biases everywhere."""

    norms, qkv, proj, up, down, names, fields = NORMS, QKV, PROJ, UP, DOWN, NAMES, FIELDS

    def embed(self, ids: Array) -> Array:
        """Word plus position embedding."""
        return super().embed(ids) + self.whole("position_embeddings.weight")[: ids.shape[1]]

    def norm(self, name: str, hidden: Array) -> Array:
        """LayerNorm."""
        centred = hidden - hidden.mean(axis=-1, keepdims=True)
        variance = np.mean(centred * centred, axis=-1, keepdims=True)
        epsilon = hidden.dtype.type(self.architecture.layer_norm_epsilon)
        normed: Array = centred / np.sqrt(variance + epsilon) * self.whole(name + ".weight")
        return normed + self.whole(name + ".bias")

    def heads(self, mixed: Array) -> Array:
        """[3, ..., heads, size]: each era interleaves query, key and value in its own order."""
        axes = self.checkpoint.qkv_order.split(",")
        sizes = {"3": 3, "np": -1, "hn": self.architecture.width}
        split = mixed.reshape(*mixed.shape[:-1], *(sizes[axis] for axis in axes))
        return np.moveaxis(split, [axes.index(axis) - 3 for axis in sizes], [0, -2, -1])

    def activated(self, products: list[Array]) -> list[Array]:
        """Each rank's through the GELU."""
        return [ACTIVATIONS[self.architecture.activation_function](up) for up in products]

    def joined(self, part: str, arrays: Sequence[Array]) -> Sequence[Array]:
        """Queries, keys and values one after another; every Linear turned into Conv1D."""
        whole = super().joined(part, arrays)
        if part in EMBEDDINGS:
            return whole
        return [whole[0].T if len(whole) == 1 else np.concatenate(whole).T]

    def misread(self, name: str) -> Iterator[tuple[Cause, Named]]:
        """Rows in another order; a LayerNorm with 1 added, or not."""
        shards = self.checkpoint.tensors[name]
        for order, other in self._other_orders() if QKV in name else ():
            cause = Cause("QKV order", f"query, key and value rows read as [{order}]")
            yield cause, other.converted(name, shards)
        if name.endswith("layernorm.weight"):
            one = not self.architecture.layernorm_1p
            other = self.with_architecture(layernorm_1p=one)
            sentence = "1 added" if one else "1 not added, which layernorm_1p asks for"
            yield Cause("layernorm_1p", sentence), other.converted(name, shards)

    def readings(self) -> Iterator[tuple[str, Reference]]:
        """Other row orders of query, key and value, other numbers of heads."""
        for order, other in self._other_orders():
            yield f"rows [{order}]", other
        for heads in divisors(self.architecture.n_embd, self.checkpoint.tensor_parallel):
            if heads != self.architecture.n_head:
                yield f"{heads} heads", self.with_architecture(n_head=heads)

    def configured(self, config: Any) -> Iterator[tuple[str, Value, Value]]:
        """GPT2Config's fields; two names of one activation are the same."""
        yield from super().configured(config)
        yield "n_inner", config.n_inner or 4 * config.n_embd, self.architecture.n_inner
        seen, expected = config.activation_function, self.architecture.activation_function
        same = ACTIVATIONS.get(seen) is ACTIVATIONS.get(expected)
        yield "activation_function", expected if same else seen, expected
        for name, value in FIXED.items():
            yield name, str(bool(getattr(config, name))), str(value)

    def _other_orders(self) -> Iterator[tuple[str, "Gpt2Reference"]]:
        for order in QKV_ORDERS:
            if order != self.checkpoint.qkv_order:
                yield order, self.with_tensors({}, qkv_order=order)


def divisors(hidden: int, ranks: int) -> list[int]:
    """Numbers of heads that divide the hidden size and are shared evenly by the ranks."""
    return [n for n in range(ranks, hidden + 1, ranks) if hidden % n == 0]
