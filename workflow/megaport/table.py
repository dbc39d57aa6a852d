"""What an architecture is: one table of tensors, and the words that a table is written in.

Nothing here knows the name of a tensor: `gpt2.py` does. A row is a tensor of the Hugging Face
model and the Megatron tensor it comes from; shapes are laws in symbols (`sizes.py`). Needs nothing
but the standard library.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any

from megaport.sizes import Law, Shape, Sizes, cut

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

    `axis` is Megatron's tensor-parallel axis; None means every rank holds the same bytes.
    `optional`: in every layer or in none.
    """

    megatron: str
    target: str
    megatron_shape: Law
    target_shape: Law
    axis: int | None
    transform: Transform
    optional: bool = False

    @property
    def leaf(self) -> str:
        """Megatron's name within its layer; the whole name outside the layers."""
        return self.megatron.removeprefix(LAYER)

    @property
    def parts(self) -> int:
        """Of so many parts each rank holds its slice of the first, then of the second: a shard
        each, as some formats store them apart."""
        return 2 if self.transform in (Transform.GATE, Transform.UP) else 1

    @property
    def stored(self) -> tuple[Law, int | None, int, bool]:
        """What rows that share a Megatron tensor say alike."""
        return self.megatron_shape, self.axis, self.parts, self.optional

    @property
    def is_norm_scale(self) -> bool:
        """A norm's weight: what `layernorm_1p` stores with 1 subtracted."""
        return self.megatron.endswith("layernorm.weight")

    def shard_shape(self, sizes: Sizes, shards: int) -> Shape:
        """What one of `shards` shards holds of the Megatron tensor."""
        return cut(sizes.shape(self.megatron_shape), self.axis, shards)

    def at(self, layer: int) -> "Row":
        """This row with the layer number in both names."""
        return replace(
            self, megatron=self.megatron.format(n=layer), target=self.target.format(n=layer)
        )


@dataclass(frozen=True, kw_only=True)
class Architecture(Sizes):
    """One model's numbers in GPT2Config's terms; of `padded_vocab_size` rows `vocab_size` are kept.

    `dtype` is that of the word embedding, named as transformers names it (float32, float16, ...).
    `layernorm_1p`: 1 is to be added to every norm's weight. `model_type` is transformers' name.
    Rotary positions have a base, `rope_theta`, and a scaling in the words of transformers'
    `rope_parameters`; a token sees itself and `sliding_window` - 1 before it.
    """

    model_type: str = "gpt2"
    n_layer: int
    activation_function: str
    layer_norm_epsilon: float
    tie_word_embeddings: bool
    layernorm_1p: bool
    dtype: str
    decisions: tuple[Decision, ...]
    rope_theta: float | None = None
    rope_scaling: Mapping[str, Any] | None = None
    sliding_window: int | None = None


def split_layer(name: str) -> tuple[int, str] | None:
    """`layers.N.leaf` as (N, leaf); None for a name outside the layers."""
    found = _LAYER.fullmatch(name)
    return (int(found[1]), found[2]) if found else None


def layer_name(number: int, leaf: str) -> str:
    return LAYER.format(n=number) + leaf


def leaves_of(names: Iterable[str]) -> frozenset[str]:
    """The names, within their layers, of the tensors that are in one."""
    return frozenset(place[1] for place in map(split_layer, names) if place)


@dataclass(frozen=True)
class Table:
    """An architecture, of a `kind`: its tensors, `first` in the first pipeline stage, `last` in the
    last.

    Canonical names are those of the rows' `megatron`. `modules` maps every other name that a module
    inside or after the layers had to the canonical one; `fused` maps a linear layer, by the name it
    had then, to the norm that Transformer Engine keeps inside it, as `layer_norm_weight` and
    `layer_norm_bias`.
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
    arguments: Mapping[str, tuple[tuple[Any, ...], str]]
    features: Callable[[Mapping[str, Shape]], Iterator[tuple[str, str]]]
    recognise: Callable[[Collection[str]], bool]
    describe: Callable[[Any], Architecture]
    config: Callable[[Architecture], dict[str, Any]]

    def __post_init__(self) -> None:
        for row in self.every:
            if row.stored != self._rows[row.leaf].stored:
                raise ValueError(f"rows disagree on how {row.megatron} is stored")

    @property
    def every(self) -> tuple[Row, ...]:
        """The rows of all places, those of one layer once."""
        return (*self.first, *self.layer, *self.last, self.head)

    @cached_property
    def _rows(self) -> dict[str, Row]:
        by_name = {row.leaf: row for row in self.every}
        return {**by_name, HEAD_COPY: by_name[WORD]}

    def _known(self, rows: tuple[Row, ...]) -> dict[str, str]:
        """The canonical name, within its layer, by each of the names that tensors of `rows` had."""
        own = {row.leaf: row.leaf for row in rows}
        renamed = [(f"{name}.", f"{module}.") for name, module in self.modules.items()]
        renamed += [(f"{name}.layer_norm_", f"{norm}.") for name, norm in self.fused.items()]
        pairs = ((a + kind, b + kind) for a, b in renamed for kind in ("weight", "bias"))
        return own | {name: canonical for name, canonical in pairs if canonical in own}

    @cached_property
    def _leaves(self) -> dict[str, str]:
        return self._known(self.layer)

    @cached_property
    def _ends(self) -> dict[str, str]:
        return self._known(self.last)

    def leaf(self, native: str) -> str | None:
        """The canonical name, within its layer, of a tensor of a layer by any of its names."""
        return self._leaves.get(native)

    def name(self, native: str) -> str | None:
        """The canonical name of what a stack of layers holds: `layers.N...` or the final norm."""
        place = split_layer(native)
        if not place:
            return self._ends.get(native)
        leaf = self.leaf(place[1])
        return layer_name(place[0], leaf) if leaf else None

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
        kept = [row for row in self.layer if not row.optional or row.leaf in leaves]
        yield from self.first
        for number in range(layers):
            yield from (row.at(number) for row in kept)
        yield from self.last
        if not tied:
            yield self.head
