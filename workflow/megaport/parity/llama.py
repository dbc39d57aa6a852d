"""Llama's architecture (Touvron et al. 2023), which Qwen2, Qwen3 and Mistral vary, as Megatron core
computes it, and where its tensors lie in the converted file.

The mapping is parity's own: nothing here is shared with the converter's table. Megatron core keeps
in `linear_qkv`, for each group, its query heads, its key and its value; tensor parallelism cuts it
by groups. Of `linear_fc1` each rank holds its slice of the gate, then of the up projection, which
the reader gives as two shards.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from megaport.parity.activation import silu
from megaport.parity.attention import attend, rotate
from megaport.parity.reference import VOCABULARY, Misread, Reference
from megaport.parity.rounding import cast
from megaport.parity.verdict import Value
from megaport.tensors import Array, Tensor

QKV, PROJ = "self_attention.linear_qkv", "self_attention.linear_proj"
FC1, FC2 = "mlp.linear_fc1", "mlp.linear_fc2"
NORMS = ("input_layernorm", "pre_mlp_layernorm")
QK_NORMS = ("self_attention.q_layernorm", "self_attention.k_layernorm")
SPLIT = {
    QKV: ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    FC1: ("mlp.gate_proj", "mlp.up_proj"),
}
PARTS = {
    NORMS[0]: "input_layernorm",
    NORMS[1]: "post_attention_layernorm",
    QK_NORMS[0]: "self_attn.q_norm",
    QK_NORMS[1]: "self_attn.k_norm",
    PROJ: "self_attn.o_proj",
    FC2: "mlp.down_proj",
}
WHOLE = {
    "word_embeddings": "model.embed_tokens",
    "final_layernorm": "model.norm",
    "output_layer": "lm_head",
}
ROW_PARALLEL = (PROJ, FC2)
# Bases that models of this family were trained with.
BASES = (10_000.0, 500_000.0, 1_000_000.0)


class LlamaReference(Reference):
    """Rotary positions, RMSNorm before each half of a block, grouped queries, SwiGLU."""

    def embed(self, ids: Array) -> Array:
        """Word embeddings; positions come with attention."""
        return self.words(ids)

    def layer(self, index: int, hidden: Array) -> Array:
        """The pre-norm residual form."""
        prefix = f"layers.{index}."
        normed = self._norm(prefix + NORMS[0], hidden)
        hidden = hidden + self._attention(prefix, normed)
        products = list(self.columns(prefix + FC1, self._norm(prefix + NORMS[1], hidden)))
        gated = [silu(g) * up for g, up in zip(products[::2], products[1::2], strict=True)]
        return hidden + self.reduce(prefix + FC2, gated)

    def final(self, hidden: Array) -> Array:
        """The final RMSNorm."""
        return self._norm("final_layernorm", hidden)

    def converted(self, name: str, shards: Sequence[Tensor]) -> Iterator[tuple[str, Tensor]]:
        """As LlamaForCausalLM and its siblings call it, query, key, value, gate and up apart."""
        stem, kind = name.rsplit(".", 1)
        for target, array in self._arrays(stem, [shard.array for shard in shards]):
            kept = array[: self.architecture.vocab_size] if name in VOCABULARY else array
            yield f"{target}.{kind}", self.as_stored(name, Tensor(shards[0].dtype, kept))

    def misread(self, name: str) -> Iterator[Misread]:
        """Rows of linear_qkv taken for three blocks, or its heads for interleaved; rotary rows
        permuted, as Meta's own format needs it, either way."""
        if QKV not in name:
            return
        layer, kind = name.split(".")[1], name.rsplit(".", 1)[1]
        shards = self.checkpoint.tensors[name]
        whole, dtype = np.concatenate([shard.array for shard in shards]), shards[0].dtype
        size, groups, heads = self._sizes()
        cuts = [heads * size, (heads + groups) * size]
        right = [t.array for _, t in self.converted(name, shards)]
        turned = _each(right[0], (groups, heads // groups, size), (1, 0, 2))
        into = [_each(array, (-1, size // 2, 2), (0, 2, 1)) for array in right[:2]]
        out_of = [_each(array, (-1, 2, size // 2), (0, 2, 1)) for array in right[:2]]
        for what, sentence, arrays in (
            ("query groups", "rows of all groups taken for three blocks", np.split(whole, cuts)),
            ("query groups", "query heads in the order of places, not of groups", [turned]),
            ("rotary", "rows permuted for rotary positions that are interleaved", into),
            ("rotary", "rows permuted from rotary positions that are interleaved", out_of),
        ):
            names = (f"model.layers.{layer}.{part}.{kind}" for part in SPLIT[QKV])
            tensors = (cast(Tensor(dtype, array), self.stored) for array in arrays)
            yield what, sentence, zip(names, tensors, strict=False)

    def parts(self, name: str) -> int:
        """Gate and up are two shards of a rank."""
        return 2 if FC1 in name else 1

    def readings(self) -> Iterator[tuple[str, Reference]]:
        """Other sizes of a head, as long as no norm of queries says it; other rotary bases."""
        size, groups, heads = self._sizes()
        ranks = self.checkpoint.tensor_parallel
        normed = any(QK_NORMS[0] in name for name in self.checkpoint.tensors)
        for other in () if normed else range(2, groups * size + 1, 2):
            rows = groups * size
            if other != size and rows % other == 0 and rows // other % ranks == 0:
                fields = {"n_head": heads * size // other, "n_group": rows // other}
                yield f"heads of size {other}", self.with_architecture(head_size=other, **fields)
        for base in BASES:
            if base != self.architecture.rope_theta:
                yield f"rotary base {base:,.0f}", self.with_architecture(rope_theta=base)

    def configured(self, config: Any) -> Iterator[tuple[str, Value, Value]]:
        """LlamaConfig's fields that change the mathematics."""
        mine = self.architecture
        rope = dict(getattr(config, "rope_parameters", None) or {})
        expected = {"rope_type": "default", **(mine.rope_scaling or {})}
        window = getattr(config, "sliding_window", None)
        kinds = set(getattr(config, "layer_types", None) or ["sliding_attention"])
        if kinds != {"sliding_attention"}:
            window = None if kinds == {"full_attention"} else "of some layers"
        yield "num_hidden_layers", config.num_hidden_layers, mine.n_layer
        yield "num_attention_heads", config.num_attention_heads, mine.n_head
        yield "num_key_value_heads", config.num_key_value_heads, mine.groups
        yield "head_dim", getattr(config, "head_dim", None) or "none", mine.width
        yield "hidden_size", config.hidden_size, mine.n_embd
        yield "intermediate_size", config.intermediate_size, mine.n_inner
        yield "vocab_size", config.vocab_size, mine.vocab_size
        yield "rms_norm_eps", config.rms_norm_eps, mine.layer_norm_epsilon
        yield "hidden_act", config.hidden_act, "silu"
        yield "rope_theta", float(rope.pop("rope_theta", 0)), float(mine.rope_theta or 0)
        yield "rope scaling", str(sorted(rope.items())), str(sorted(expected.items()))
        yield "sliding_window", str(window), str(mine.sliding_window)
        yield "tie_word_embeddings", str(config.tie_word_embeddings), str(mine.tie_word_embeddings)

    def _sizes(self) -> tuple[int, int, int]:
        return self.architecture.width, self.architecture.groups, self.architecture.n_head

    def _norm(self, name: str, hidden: Array) -> Array:
        square = np.mean(hidden * hidden, axis=-1, keepdims=True)
        epsilon = hidden.dtype.type(self.architecture.layer_norm_epsilon)
        normed: Array = hidden / np.sqrt(square + epsilon) * self.scale(name)
        return normed

    def _attention(self, prefix: str, normed: Array) -> Array:
        size, groups, heads = self._sizes()
        mine = self.architecture
        contexts = []
        for mixed in self.columns(prefix + QKV, normed):
            rows = mixed.reshape(*mixed.shape[:2], -1, heads // groups + 2, size)
            query, key, value = (
                part.reshape(*mixed.shape[:2], -1, size)
                for part in np.split(rows, [heads // groups, heads // groups + 1], axis=3)
            )
            query, key = (
                rotate(part.swapaxes(1, 2), mine.rope_theta or 0, mine.rope_scaling)
                for part in (
                    self._head_norm(prefix + QK_NORMS[0], query),
                    self._head_norm(prefix + QK_NORMS[1], key),
                )
            )
            contexts.append(attend(query, key, value.swapaxes(1, 2), mine.sliding_window))
        return self.reduce(prefix + PROJ, contexts)

    def _head_norm(self, name: str, heads: Array) -> Array:
        """Qwen3's RMSNorm of each query and key, where there is one."""
        normed = name + ".weight" in self.checkpoint.tensors
        return self._norm(name, heads) if normed else heads

    def _arrays(self, stem: str, arrays: Sequence[Array]) -> Iterator[tuple[str, Array]]:
        if stem in WHOLE:
            yield WHOLE[stem], np.concatenate(arrays)
            return
        _, layer, part = stem.split(".", 2)
        prefix = f"model.layers.{layer}."
        if part in PARTS:
            whole = np.concatenate(arrays, axis=1 if part in ROW_PARALLEL else 0)
            yield prefix + PARTS[part], whole
        elif part == QKV:
            yield from zip((prefix + p for p in SPLIT[QKV]), self._grouped(arrays), strict=True)
        else:
            halves = arrays if len(arrays) > 1 else np.split(arrays[0], 2)
            gate_and_up = (np.concatenate(halves[::2]), np.concatenate(halves[1::2]))
            yield from zip((prefix + p for p in SPLIT[FC1]), gate_and_up, strict=True)

    def _grouped(self, ranks: Sequence[Array]) -> Iterator[Array]:
        """All queries, all keys, all values, of rows that ranks hold group by group."""
        size, groups, heads = self._sizes()
        rows = np.concatenate(ranks)
        split = rows.reshape(groups, heads // groups + 2, size, *rows.shape[1:])
        for of_group in (slice(0, -2), slice(-2, -1), slice(-1, None)):
            yield split[:, of_group].reshape(-1, *rows.shape[1:])


def _each(rows: Array, sizes: tuple[int, ...], order: tuple[int, ...]) -> Array:
    """`rows` as blocks of `sizes`, the blocks' axes in another order."""
    split = rows.reshape(*sizes, *rows.shape[1:])
    return split.transpose(*order, *range(len(sizes), split.ndim)).reshape(rows.shape)
