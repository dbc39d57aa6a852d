"""GPT-2 as Megatron computes it, and where its tensors lie in a GPT2LMHeadModel file.

Written from the GPT-2 and Megatron-LM papers (Radford et al. 2019; Shoeybi et al. 2019, section 3),
transformers' Conv1D ([in, out]) and the row orders of formats.md. The mapping is parity's own:
nothing here is shared with the converter's table.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from megaport.checkpoint.model import QKV_ORDERS
from megaport.parity.activation import ACTIVATIONS
from megaport.parity.attention import attend, split_heads
from megaport.parity.reference import VOCABULARY, Misread, Reference
from megaport.parity.verdict import Value
from megaport.tensors import Array, Tensor

QKV, DENSE = "attention.query_key_value", "attention.dense"
UP, DOWN = "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"
ROW_PARALLEL = (DENSE, DOWN)
NORMS = ("input_layernorm", "post_attention_layernorm")
PARTS = {
    NORMS[0]: "ln_1",
    QKV: "attn.c_attn",
    DENSE: "attn.c_proj",
    NORMS[1]: "ln_2",
    UP: "mlp.c_fc",
    DOWN: "mlp.c_proj",
}
WHOLE = {
    "word_embeddings": "transformer.wte",
    "position_embeddings": "transformer.wpe",
    "final_layernorm": "transformer.ln_f",
    "output_layer": "lm_head",
}
SAME = ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size", "layer_norm_epsilon")
# What GPT2Config can switch on and Megatron's GPT-2 has not (GPT2Config's defaults).
FIXED = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}


class Gpt2Reference(Reference):
    """Learned positions, LayerNorm before each half of a block, GELU, biases everywhere."""

    def embed(self, ids: Array) -> Array:
        """Word plus position embedding."""
        return self.words(ids) + self.whole("position_embeddings.weight")[: ids.shape[1]]

    def layer(self, index: int, hidden: Array) -> Array:
        """The pre-LN residual form."""
        prefix = f"layers.{index}."
        normed = self._norm(prefix + NORMS[0], hidden)
        hidden = hidden + self._attention(prefix, normed)
        normed = self._norm(prefix + NORMS[1], hidden)
        act = ACTIVATIONS[self.architecture.activation_function]
        return hidden + self.reduce(
            prefix + DOWN, [act(up) for up in self.columns(prefix + UP, normed)]
        )

    def final(self, hidden: Array) -> Array:
        """The final LayerNorm."""
        return self._norm("final_layernorm", hidden)

    def converted(self, name: str, shards: Sequence[Tensor]) -> Iterator[tuple[str, Tensor]]:
        """One tensor for one, as GPT2LMHeadModel calls it; every Linear turned into Conv1D."""
        stem, kind = name.rsplit(".", 1)
        dtype, arrays = shards[0].dtype, [shard.array for shard in shards]
        if stem in WHOLE:
            rows = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
            kept = rows[: self.architecture.vocab_size] if name in VOCABULARY else rows
            yield f"{WHOLE[stem]}.{kind}", self.as_stored(name, Tensor(dtype, kept))
            return
        _, layer, part = stem.split(".", 2)
        if part == QKV:
            whole = self._query_key_value(arrays)
        elif part in ROW_PARALLEL and kind == "weight":
            whole = np.concatenate(arrays, axis=1)
        else:
            whole = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        laid = Tensor(dtype, whole.T)
        yield f"transformer.h.{layer}.{PARTS[part]}.{kind}", self.as_stored(name, laid)

    def misread(self, name: str) -> Iterator[Misread]:
        """Rows in another order; a LayerNorm with 1 added, or not."""
        shards = self.checkpoint.tensors[name]
        if QKV in name:
            for order, other in self._other_orders():
                sentence = f"query, key and value rows read as [{order}]"
                yield "QKV order", sentence, other.converted(name, shards)
        if name.endswith("layernorm.weight"):
            one = not self.architecture.layernorm_1p
            other = self.with_architecture(layernorm_1p=one)
            sentence = "1 added" if one else "1 not added, which layernorm_1p asks for"
            yield "layernorm_1p", sentence, other.converted(name, shards)

    def readings(self) -> Iterator[tuple[str, Reference]]:
        """Other row orders of query, key and value, other numbers of heads."""
        for order, other in self._other_orders():
            yield f"rows [{order}]", other
        for heads in divisors(self.architecture.n_embd, self.checkpoint.tensor_parallel):
            if heads != self.architecture.n_head:
                yield f"{heads} heads", self.with_architecture(n_head=heads)

    def configured(self, config: Any) -> Iterator[tuple[str, Value, Value]]:
        """GPT2Config's fields; two names of one activation are the same."""
        mine = self.architecture
        yield from ((name, getattr(config, name), getattr(mine, name)) for name in SAME)
        yield "n_inner", config.n_inner or 4 * config.n_embd, mine.n_inner
        seen, expected = config.activation_function, mine.activation_function
        same = ACTIVATIONS.get(seen) is ACTIVATIONS.get(expected)
        yield "activation_function", expected if same else seen, expected
        for name, value in {**FIXED, "tie_word_embeddings": mine.tie_word_embeddings}.items():
            yield name, str(bool(getattr(config, name))), str(value)

    def _other_orders(self) -> Iterator[tuple[str, "Gpt2Reference"]]:
        for order in QKV_ORDERS:
            if order != self.checkpoint.qkv_order:
                yield order, self.with_tensors({}, qkv_order=order)

    def _norm(self, name: str, hidden: Array) -> Array:
        centred = hidden - hidden.mean(axis=-1, keepdims=True)
        variance = np.mean(centred * centred, axis=-1, keepdims=True)
        epsilon = hidden.dtype.type(self.architecture.layer_norm_epsilon)
        normed: Array = centred / np.sqrt(variance + epsilon) * self.scale(name)
        return normed + self.whole(name + ".bias")

    def _attention(self, prefix: str, normed: Array) -> Array:
        width = self.architecture.n_embd // self.architecture.n_head
        contexts = []
        for mixed in self.columns(prefix + QKV, normed):
            heads = mixed.shape[-1] // 3 // width
            contexts.append(attend(*split_heads(mixed, self.checkpoint.qkv_order, heads)))
        return self.reduce(prefix + DENSE, contexts)

    def _query_key_value(self, ranks: Sequence[Array]) -> Array:
        """Each rank's rows in its own order -> [3H, ...]: all queries, all keys, all values."""
        axes = self.checkpoint.qkv_order.split(",")
        width = self.architecture.n_embd // self.architecture.n_head
        sizes = {"3": 3, "np": -1, "hn": width}
        heads = [
            np.moveaxis(
                rows.reshape(*(sizes[axis] for axis in axes), *rows.shape[1:]),
                [axes.index(axis) for axis in sizes],
                [0, 1, 2],
            )
            for rows in ranks
        ]
        return np.concatenate(heads, axis=1).reshape(-1, *ranks[0].shape[1:])


def divisors(hidden: int, ranks: int) -> list[int]:
    """Numbers of heads that divide the hidden size and are shared evenly by the ranks."""
    return [n for n in range(ranks, hidden + 1, ranks) if hidden % n == 0]
