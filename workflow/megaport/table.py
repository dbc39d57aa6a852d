"""What an architecture is: one table of tensors, and the words that a table is written in.

Nothing here knows the name of a tensor: `gpt2.py` does. A row is a tensor of the Hugging Face
model and the Megatron tensor it comes from. Shapes are laws in symbols, which `Sizes` turns into
numbers: V padded vocabulary, v vocabulary, P positions, H hidden, F feed-forward, D head size,
A all heads of the queries, K all heads of the keys, Q queries, keys and values; 3H is 3 x H.
Needs nothing but the standard library.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

# What every Megatron calls these, whatever the model.
WORD, HEAD = "word_embeddings.weight", "output_layer.weight"
FINAL_NORM = "final_layernorm"
# The copy of the word embedding that the last pipeline stage of a tied legacy model holds.
HEAD_COPY = "word_embeddings_for_head.weight"
LAYER = "layers.{n}."
# config.json's dtype: what `from_pretrained` loads in, whatever is stored. From FP16 weights
# Trainer's defaults get a loss of NaN after a step, and CPUs compute nothing else as fast.
LOADED_IN = "float32"
_LAYER = re.compile(r"layers\.(\d{1,9})\.(.+)")
Law = tuple[str, ...]
Shape = tuple[int, ...]


class Transform(Enum):
    """How a Megatron tensor becomes its target; each is undone by reading it right to left."""

    COPY = "the same elements in the same order"
    CUT = "rows beyond the vocabulary are padding and dropped"
    TRANSPOSE = "Linear [out, in] becomes Conv1D [in, out]"
    HEADS = "QKV rows of each rank become [3, heads, head size] over all ranks"
    HEADS_TRANSPOSE = "HEADS, then Linear [out, in] becomes Conv1D [in, out]"
    QUERY = "of the rows of each group, its query heads"
    KEY = "of the rows of each group, its key"
    VALUE = "of the rows of each group, its value"
    GATE = "the first part that each rank holds"
    UP = "the second part that each rank holds"


@dataclass(frozen=True)
class Decision:
    """Something the reader concluded: `value` is JSON data, `override` the config key that wins."""

    subject: str
    value: Any
    reason: str
    override: str | None = None


@dataclass(frozen=True)
class Row:
    """One tensor: names with `{n}` for a layer, Megatron's and the target's shapes, all ranks'.

    `axis` is Megatron's tensor-parallel axis; None means every rank holds the same bytes. Of
    `parts` each rank holds its slice of the first, then of the second: a shard each, as some
    formats store them apart. `optional`: in every layer or in none.
    """

    megatron: str
    target: str
    megatron_shape: Law
    target_shape: Law
    axis: int | None
    transform: Transform
    parts: int = 1
    optional: bool = False

    @property
    def stored(self) -> tuple[Law, int | None, int, bool]:
        """What rows that share a Megatron tensor say alike."""
        return self.megatron_shape, self.axis, self.parts, self.optional

    @property
    def is_norm_scale(self) -> bool:
        """A norm's weight: what `layernorm_1p` stores with 1 subtracted."""
        return self.megatron.endswith("layernorm.weight")

    def at(self, layer: int) -> "Row":
        """This row with the layer number in both names."""
        return replace(
            self, megatron=self.megatron.format(n=layer), target=self.target.format(n=layer)
        )


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the symbols of the shape laws stand for, and the number of attention heads.

    `n_group` keys and values are shared by `n_head` queries; None means that each has its own.
    `head_size` of None means `n_embd` / `n_head`.
    """

    padded_vocab_size: int
    vocab_size: int
    n_positions: int
    n_embd: int
    n_inner: int
    n_head: int
    n_group: int | None = None
    head_size: int | None = None

    @property
    def groups(self) -> int:
        return self.n_group or self.n_head

    @property
    def width(self) -> int:
        """The size of one attention head."""
        return self.head_size or self.n_embd // self.n_head

    @property
    def symbols(self) -> dict[str, int]:
        return {
            "V": self.padded_vocab_size,
            "v": self.vocab_size,
            "P": self.n_positions,
            "H": self.n_embd,
            "F": self.n_inner,
            "D": self.width,
            "A": self.width * self.n_head,
            "K": self.width * self.groups,
            "Q": self.width * (self.n_head + 2 * self.groups),
        }

    def shape(self, law: Law) -> tuple[int, ...]:
        """The numbers of a shape law, e.g. ("3H", "H") -> (3072, 1024)."""
        return numbers_of(law, self.symbols)

    def shard_shape(self, row: Row, shards: int) -> tuple[int, ...]:
        """What one of `shards` shards holds of `row`'s Megatron tensor."""
        return cut(self.shape(row.megatron_shape), row.axis, shards)


@dataclass(frozen=True, kw_only=True)
class Architecture(Sizes):
    """One model's numbers in GPT2Config's terms; of `padded_vocab_size` rows `vocab_size` are kept.

    `dtype` is that of the word embedding, named as transformers names it (float32, float16, ...).
    `layernorm_1p`: 1 is to be added to every norm's weight. `model_type` is transformers' name.
    Rotary positions have a base, `rope_theta`, and a scaling in the words of transformers'
    `rope_parameters`; a token sees itself and `sliding_window` - 1 before it.
    """

    n_layer: int
    activation_function: str
    layer_norm_epsilon: float
    tie_word_embeddings: bool
    layernorm_1p: bool
    dtype: str
    decisions: tuple[Decision, ...]
    model_type: str = "gpt2"
    rope_theta: float | None = None
    rope_scaling: Mapping[str, Any] | None = None
    sliding_window: int | None = None


def factor_of(symbol: str) -> tuple[int, str]:
    """The number and the letters of a law's entry: "3H" -> (3, "H")."""
    letters = symbol.lstrip("0123456789")
    return int(symbol[: -len(letters)] or 1), letters


def numbers_of(law: Law, symbols: Mapping[str, int]) -> tuple[int, ...]:
    """The numbers of a shape law; KeyError for a symbol that has none."""
    factors = (factor_of(symbol) for symbol in law)
    return tuple(number * symbols[letters] for number, letters in factors)


def cut(shape: tuple[int, ...], axis: int | None, shards: int) -> tuple[int, ...]:
    """The shape of one of `shards` equal shards along `axis`; the whole where that is None."""
    return tuple(n // shards if place == axis else n for place, n in enumerate(shape))


def split_layer(name: str) -> tuple[int, str] | None:
    """`layers.N.leaf` as (N, leaf); None for a name outside the layers."""
    found = _LAYER.fullmatch(name)
    return (int(found[1]), found[2]) if found else None


def layer_name(number: int, leaf: str) -> str:
    return LAYER.format(n=number) + leaf


@dataclass(frozen=True)
class Table:
    """An architecture, of a `kind`: its tensors, `first` in the first pipeline stage, `last` in the
    last.

    Canonical names are those of the rows' `megatron`. `modules` and `final` map every name that a
    module inside or after the layers had to the canonical one; `fused` maps a linear layer to the
    norm that Transformer Engine keeps inside it, as `layer_norm_weight` and `layer_norm_bias`.
    `arguments` are those that mean something of this architecture, as in `checkpoint.arguments`;
    `features` gives what the shapes of a layer's tensors show that it cannot express, and where.
    `recognise` says whether tensors of these names are this architecture's; `describe` makes the
    `Architecture` from `decide.Facts`; `config` gives config.json's content.
    """

    kind: str
    first: tuple[Row, ...]
    layer: tuple[Row, ...]
    last: tuple[Row, ...]
    head: Row
    modules: Mapping[str, str]
    fused: Mapping[str, str]
    final: Mapping[str, str]
    arguments: Mapping[str, tuple[tuple[Any, ...], str]]
    features: Callable[[Mapping[str, Shape]], Iterator[tuple[str, str]]]
    recognise: Callable[[Collection[str]], bool]
    describe: Callable[[Any], Architecture]
    config: Callable[[Architecture], dict[str, Any]]
    _rows: dict[str, Row] = field(init=False, repr=False, compare=False)
    _leaves: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        every = (*self.first, *self.layer, *self.last, self.head)
        by_name = {row.megatron.removeprefix(LAYER): row for row in every}
        for row in every:
            if row.stored != by_name[row.megatron.removeprefix(LAYER)].stored:
                raise ValueError(f"rows disagree on how {row.megatron} is stored")
        stored = {
            f"{module}.{kind}": f"{target}.{kind}"
            for module, target in self.modules.items()
            for kind in ("weight", "bias")
        } | {
            f"{module}.layer_norm_{kind}": f"{target}.{kind}"
            for module, target in self.fused.items()
            for kind in ("weight", "bias")
        }
        leaves = {leaf: target for leaf, target in stored.items() if target in by_name}
        object.__setattr__(self, "_rows", {**by_name, HEAD_COPY: by_name[WORD]})
        object.__setattr__(self, "_leaves", leaves)

    def leaf(self, native: str) -> str | None:
        """The canonical name, within its layer, of a tensor of a layer by any of its names."""
        return self._leaves.get(native)

    def name(self, native: str) -> str | None:
        """The canonical name of what a stack of layers holds: `layers.N...` or the final norm."""
        place = split_layer(native)
        if place:
            leaf = self.leaf(place[1])
            return layer_name(place[0], leaf) if leaf else None
        module, _, kind = native.rpartition(".")
        name = f"{self.final.get(module)}.{kind}"
        return name if name in self._rows else None

    def outside(self, native: str) -> str | None:
        """The canonical name of what is before or after the layers: embeddings and head."""
        known = {row.megatron for row in (*self.first, self.head)} | {HEAD_COPY}
        return native if native in known else None

    def row(self, name: str) -> Row:
        """The row of a canonical name; a layer's row with `{n}` in its names."""
        place = split_layer(name)
        return self._rows[place[1] if place else name]

    def rows(
        self, layers: int, *, tied: bool, leaves: Collection[str] = frozenset()
    ) -> Iterator[Row]:
        """Every row of a model of `layers` layers, in the order of the forward pass.

        Of the optional rows of a layer those whose Megatron name is among `leaves`.
        """
        kept = [r for r in self.layer if not r.optional or r.megatron.removeprefix(LAYER) in leaves]
        yield from self.first
        for number in range(layers):
            yield from (row.at(number) for row in kept)
        yield from self.last
        if not tied:
            yield self.head
