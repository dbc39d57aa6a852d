"""The one table: every Megatron GPT-2 tensor, its GPT-2 name, its shape, and what moves.

Megatron names are the canonical ones that `checkpoint.model.Checkpoint.tensors` is keyed by; GPT-2
names are those `GPT2LMHeadModel.save_pretrained` writes. Shapes are laws in symbols:
V padded vocabulary, v vocabulary, P positions, H hidden, F feed-forward, 3H for Q, K and V.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType


class Transform(Enum):
    """How a Megatron tensor becomes a GPT-2 tensor; each is undone by reading it right to left."""

    COPY = "the same elements in the same order"
    CUT = "rows beyond the vocabulary are padding and dropped"
    TRANSPOSE = "Linear [out, in] becomes Conv1D [in, out]"
    HEADS = "QKV rows of each rank become [3, heads, head size] over all ranks"
    HEADS_TRANSPOSE = "HEADS, then Linear [out, in] becomes Conv1D [in, out]"


@dataclass(frozen=True)
class Row:
    """One tensor: names with `{n}` for a layer, Megatron's and GPT-2's shapes over all TP ranks.

    `axis` is Megatron's tensor-parallel axis; None means every rank holds the same bytes.
    """

    megatron: str
    gpt2: str
    megatron_shape: tuple[str, ...]
    gpt2_shape: tuple[str, ...]
    axis: int | None
    transform: Transform

    @property
    def layered(self) -> bool:
        return "{n}" in self.megatron

    @property
    def is_norm_scale(self) -> bool:
        """LayerNorm's weight: what `layernorm_1p` stores with 1 subtracted."""
        return self.megatron.endswith("layernorm.weight")

    def at(self, layer: int) -> "Row":
        """This row with the layer number in both names."""
        names = (self.megatron.format(n=layer), self.gpt2.format(n=layer))
        return Row(*names, self.megatron_shape, self.gpt2_shape, self.axis, self.transform)


COPY, CUT, TRANSPOSE = Transform.COPY, Transform.CUT, Transform.TRANSPOSE
HEADS, HEADS_TRANSPOSE = Transform.HEADS, Transform.HEADS_TRANSPOSE
M, G = "layers.{n}.", "transformer.h.{n}."

# fmt: off
TABLE: tuple[Row, ...] = (
    Row("word_embeddings.weight",     "transformer.wte.weight", ("V", "H"), ("v", "H"), 0,    CUT),
    Row("position_embeddings.weight", "transformer.wpe.weight", ("P", "H"), ("P", "H"), None, COPY),
    Row(M + "input_layernorm.weight",           G + "ln_1.weight", ("H",), ("H",), None, COPY),
    Row(M + "input_layernorm.bias",             G + "ln_1.bias",   ("H",), ("H",), None, COPY),
    Row(M + "attention.query_key_value.weight", G + "attn.c_attn.weight",
        ("3H", "H"), ("H", "3H"), 0, HEADS_TRANSPOSE),
    Row(M + "attention.query_key_value.bias",   G + "attn.c_attn.bias", ("3H",), ("3H",), 0, HEADS),
    Row(M + "attention.dense.weight",           G + "attn.c_proj.weight",
        ("H", "H"), ("H", "H"), 1, TRANSPOSE),
    Row(M + "attention.dense.bias",             G + "attn.c_proj.bias", ("H",), ("H",), None, COPY),
    Row(M + "post_attention_layernorm.weight",  G + "ln_2.weight", ("H",), ("H",), None, COPY),
    Row(M + "post_attention_layernorm.bias",    G + "ln_2.bias",   ("H",), ("H",), None, COPY),
    Row(M + "mlp.dense_h_to_4h.weight",         G + "mlp.c_fc.weight",
        ("F", "H"), ("H", "F"), 0, TRANSPOSE),
    Row(M + "mlp.dense_h_to_4h.bias",           G + "mlp.c_fc.bias", ("F",), ("F",), 0, COPY),
    Row(M + "mlp.dense_4h_to_h.weight",         G + "mlp.c_proj.weight",
        ("H", "F"), ("F", "H"), 1, TRANSPOSE),
    Row(M + "mlp.dense_4h_to_h.bias",           G + "mlp.c_proj.bias", ("H",), ("H",), None, COPY),
    Row("final_layernorm.weight", "transformer.ln_f.weight", ("H",), ("H",), None, COPY),
    Row("final_layernorm.bias",   "transformer.ln_f.bias",   ("H",), ("H",), None, COPY),
)
HEAD = Row("output_layer.weight", "lm_head.weight", ("V", "H"), ("v", "H"), 0, CUT)
# fmt: on


@dataclass(frozen=True)
class Sizes:
    """What the symbols of the shape laws stand for, and the number of attention heads."""

    padded_vocab_size: int
    vocab_size: int
    n_positions: int
    n_embd: int
    n_inner: int
    n_head: int

    @property
    def symbols(self) -> Mapping[str, int]:
        return MappingProxyType(
            {
                "V": self.padded_vocab_size,
                "v": self.vocab_size,
                "P": self.n_positions,
                "H": self.n_embd,
                "F": self.n_inner,
                "3H": 3 * self.n_embd,
            }
        )

    def shape(self, law: tuple[str, ...]) -> tuple[int, ...]:
        """The numbers of a shape law, e.g. ("3H", "H") -> (3072, 1024)."""
        return tuple(self.symbols[symbol] for symbol in law)

    def shard_shape(self, row: Row, ranks: int) -> tuple[int, ...]:
        """What one of `ranks` tensor-parallel ranks holds of `row`'s Megatron tensor."""
        shape = list(self.shape(row.megatron_shape))
        if row.axis is not None:
            shape[row.axis] //= ranks
        return tuple(shape)


def rows(layers: int, *, tied: bool) -> tuple[Row, ...]:
    """Every row of a model of `layers` layers, in Megatron's order; the head only when untied."""
    layered = [row for row in TABLE if row.layered]
    first = [row for row in TABLE if row.megatron.endswith("embeddings.weight")]
    last = [row for row in TABLE if not row.layered and row not in first]
    body = [row.at(layer) for layer in range(layers) for row in layered]
    return (*first, *body, *last, *([] if tied else [HEAD]))
