"""Llama as Megatron core computes it, with Qwen2, Qwen3 and Mistral, and where its tensors lie.

The architecture is that of Touvron et al., 2023.

The mapping is parity's own: nothing here is shared with the converter's table. Megatron core keeps
in `linear_qkv`, for each group, its query heads, its key and its value; tensor parallelism cuts it
by groups. Of `linear_fc1` each rank holds its slice of the gate, then of the up projection, which
the reader gives as two shards.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from megaport.parity.arithmetic import cast, rotate, silu
from megaport.parity.reference import Named, Reference
from megaport.parity.verdict import Cause, Value
from megaport.tensors import Array, Tensor

QKV, PROJ = "self_attention.linear_qkv", "self_attention.linear_proj"
UP, DOWN = "mlp.linear_fc1", "mlp.linear_fc2"
NORMS = ("input_layernorm", "pre_mlp_layernorm")
QK_NORMS = ("self_attention.q_layernorm", "self_attention.k_layernorm")
NAMES = {
    "word_embeddings": ("model.embed_tokens",),
    NORMS[0]: ("model.layers.{}.input_layernorm",),
    QKV: tuple(f"model.layers.{{}}.self_attn.{part}_proj" for part in "qkv"),
    QK_NORMS[0]: ("model.layers.{}.self_attn.q_norm",),
    QK_NORMS[1]: ("model.layers.{}.self_attn.k_norm",),
    PROJ: ("model.layers.{}.self_attn.o_proj",),
    NORMS[1]: ("model.layers.{}.post_attention_layernorm",),
    UP: ("model.layers.{}.mlp.gate_proj", "model.layers.{}.mlp.up_proj"),
    DOWN: ("model.layers.{}.mlp.down_proj",),
    "final_layernorm": ("model.norm",),
    "output_layer": ("lm_head",),
}
FIELDS = {
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "num_key_value_heads": "groups",
    "hidden_size": "n_embd",
    "intermediate_size": "n_inner",
    "vocab_size": "vocab_size",
    "rms_norm_eps": "layer_norm_epsilon",
}
# Bases that models of this family were trained with.
BASES = (10_000.0, 500_000.0, 1_000_000.0)


class LlamaReference(Reference):
    """Rotary positions, RMSNorm before each half of a block, grouped queries, SwiGLU."""

    norms, qkv, proj, up, down, names, fields = NORMS, QKV, PROJ, UP, DOWN, NAMES, FIELDS

    def norm(self, name: str, hidden: Array) -> Array:
        """RMSNorm."""
        square = np.mean(hidden * hidden, axis=-1, keepdims=True)
        epsilon = hidden.dtype.type(self.architecture.layer_norm_epsilon)
        normed: Array = hidden / np.sqrt(square + epsilon) * self.whole(name + ".weight")
        return normed

    def heads(self, mixed: Array) -> Iterable[Array]:
        """Of each group its query heads, its key and its value."""
        size, each = self.architecture.width, self._queries()
        groups = mixed.reshape(*mixed.shape[:-1], -1, each + 2, size)
        for part in np.split(groups, [each, each + 1], axis=-2):
            yield part.reshape(*mixed.shape[:-1], -1, size)

    def placed(self, prefix: str, query: Array, key: Array) -> Iterable[Array]:
        """Turned by rotary positions, after Qwen3's RMSNorm of each head where there is one."""
        mine = self.architecture
        for name, heads in zip(QK_NORMS, (query, key), strict=True):
            normed = f"{prefix}{name}.weight" in self.checkpoint.tensors
            given = self.norm(prefix + name, heads) if normed else heads
            yield rotate(given, mine.rope_theta or 0, mine.rope_scaling)

    def activated(self, products: list[Array]) -> list[Array]:
        """SwiGLU of each rank's gate and up projection."""
        pairs = zip(products[::2], products[1::2], strict=True)
        return [silu(gate) * up for gate, up in pairs]

    def joined(self, part: str, arrays: Sequence[Array]) -> Sequence[Array]:
        """Gate and up apart, of which ranks hold slices in turns."""
        if part != UP:
            return super().joined(part, arrays)
        halves = arrays if len(arrays) > 1 else np.split(arrays[0], 2)
        return np.concatenate(halves[::2]), np.concatenate(halves[1::2])

    def misread(self, name: str) -> Iterator[tuple[Cause, Named]]:
        """Rows of linear_qkv taken for three blocks, or its heads for interleaved; rotary rows
        permuted, as Meta's own format needs it, either way."""
        if QKV not in name:
            return
        shards = self.checkpoint.tensors[name]
        joined = Tensor(shards[0].dtype, np.concatenate([shard.array for shard in shards]))
        whole = cast(joined, self.stored)
        names, tensors = zip(*self.converted(name, shards), strict=True)
        right = [tensor.array for tensor in tensors]
        size, groups, each = self.architecture.width, self.architecture.groups, self._queries()
        queries, keys = groups * each * size, groups * size
        blocks = np.split(whole.array, [queries, queries + keys])
        turned = _each(right[0], (groups, each, size), (1, 0, 2))
        into = [_each(array, (-1, size // 2, 2), (0, 2, 1)) for array in right[:2]]
        out_of = [_each(array, (-1, 2, size // 2), (0, 2, 1)) for array in right[:2]]
        for what, sentence, arrays in (
            ("query groups", "rows of all groups taken for three blocks", blocks),
            ("query groups", "query heads in the order of places, not of groups", [turned]),
            ("rotary", "rows permuted for rotary positions that are interleaved", into),
            ("rotary", "rows permuted from rotary positions that are interleaved", out_of),
        ):
            made = (Tensor(whole.dtype, array) for array in arrays)
            yield Cause(what, sentence), zip(names, made, strict=False)

    def readings(self) -> Iterator[tuple[str, Reference]]:
        """Other sizes of a head, as long as no norm of queries says it; other rotary bases."""
        size, ranks = self.architecture.width, self.checkpoint.tensor_parallel
        rows = self.architecture.groups * size
        normed = any(QK_NORMS[0] in name for name in self.checkpoint.tensors)
        for other in () if normed else range(2, rows + 1, 2):
            if other != size and rows % other == 0 and rows // other % ranks == 0:
                groups = rows // other
                fields = {"n_head": groups * self._queries(), "n_group": groups}
                yield f"heads of size {other}", self.with_architecture(head_size=other, **fields)
        for base in BASES:
            if base != self.architecture.rope_theta:
                yield f"rotary base {base:,.0f}", self.with_architecture(rope_theta=base)

    def configured(self, config: Any) -> Iterator[tuple[str, Value, Value]]:
        """LlamaConfig's fields, and those that its kin add."""
        yield from super().configured(config)
        mine = self.architecture
        rope = dict(getattr(config, "rope_parameters", None) or {})
        expected = {"rope_type": "default", **(mine.rope_scaling or {})}
        window = getattr(config, "sliding_window", None)
        kinds = set(getattr(config, "layer_types", None) or ["sliding_attention"])
        if kinds != {"sliding_attention"}:
            window = None if kinds == {"full_attention"} else "of some layers"
        yield "head_dim", getattr(config, "head_dim", None) or "none", mine.width
        yield "hidden_act", config.hidden_act, "silu"
        yield "rope_theta", float(rope.pop("rope_theta", 0)), float(mine.rope_theta or 0)
        yield "rope scaling", str(sorted(rope.items())), str(sorted(expected.items()))
        yield "sliding_window", str(window), str(mine.sliding_window)

    def _queries(self) -> int:
        """How many queries share a key and a value."""
        return self.architecture.n_head // self.architecture.groups


def _each(rows: Array, sizes: tuple[int, ...], order: tuple[int, ...]) -> Array:
    """`rows` as blocks of `sizes`, the blocks' axes in another order."""
    split = rows.reshape(*sizes, *rows.shape[1:])
    return split.transpose(*order, *range(len(sizes), split.ndim)).reshape(rows.shape)
