"""A Megatron model's forward pass in NumPy, from the checkpoint's own shards.

Tensor parallelism is executed, not undone: each rank multiplies with its own columns, and the
ranks' partial products are summed, as the all-reduce of Shoeybi et al. 2019 (figure 3) does. So no
row is ever permuted here, and nothing is shared with the converter. A block is the same for all
architectures, a norm before each of its halves; an architecture adds its names, its norm, how its
rows of queries, keys and values lie, and its activation (gpt2.py, llama.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np
from tqdm import tqdm

from megaport.checkpoint.model import Checkpoint
from megaport.errors import MegaportError
from megaport.parity.arithmetic import add_one, attend, cast, values
from megaport.parity.verdict import Cause, Value
from megaport.table import FINAL_NORM, HEAD, WORD, Architecture, split_layer
from megaport.tensors import Array, Tensor

Item = TypeVar("Item")
Precision = Literal["float32", "float64"]
# Tensors of the converted file by name.
Named = Iterable[tuple[str, Tensor]]

VOCABULARY = (WORD, HEAD)
# Rows of the head multiplied at once, so that a widened vocabulary never stands in memory.
HEAD_ROWS = 8192
# Rows of logits widened to float64 at once.
ROWS = 64
# Seconds of one forward pass after which a terminal shows how far it is.
PATIENCE = 1.0


class TokenIdError(MegaportError):
    """Token ids the model has no embedding for, or more of them than it has positions."""


@dataclass(frozen=True)
class Reference(ABC):
    """The forward pass of one checkpoint; tensors are widened one layer at a time.

    `precision` is that of every array; hidden states are [batch, positions, hidden size]. `stored`
    is the dtype (a safetensors name) that the conversion was asked to round to, None for none.
    """

    # What modules of a layer are called: the norms of its halves, their first and last products.
    norms: ClassVar[tuple[str, str]]
    qkv: ClassVar[str]
    proj: ClassVar[str]
    up: ClassVar[str]
    down: ClassVar[str]
    # Parity's own mapping: what becomes of a module in the converted file, {} being the layer.
    names: ClassVar[Mapping[str, Sequence[str]]]
    # Fields of transformers' configuration that say what the architecture's fields say.
    fields: ClassVar[Mapping[str, str]]

    checkpoint: Checkpoint
    architecture: Architecture
    stored: str | None = None
    precision: Precision = "float32"

    def at(self, precision: Precision) -> Self:
        """The same model, computed in `precision`."""
        return replace(self, precision=precision)

    def with_architecture(self, **fields: Any) -> Self:
        """The same tensors, with other values of the architecture's fields."""
        return replace(self, architecture=replace(self.architecture, **fields))

    def with_tensors(self, changes: Mapping[str, Sequence[Tensor]], **fields: Any) -> Self:
        """The same with some tensors, and fields of the checkpoint, replaced."""
        changed = {name: tuple(shards) for name, shards in changes.items()}
        tensors = {**self.checkpoint.tensors, **changed}
        return replace(self, checkpoint=replace(self.checkpoint, tensors=tensors, **fields))

    @abstractmethod
    def norm(self, name: str, hidden: Array) -> Array:
        """The module `name`'s norm of `hidden` [..., size], same shape."""

    @abstractmethod
    def heads(self, mixed: Array) -> Iterable[Array]:
        """Query, key and value [..., heads, size] of a rank's product `mixed` [..., rows]."""

    @abstractmethod
    def activated(self, products: list[Array]) -> list[Array]:
        """What each rank gives its last product, from the products of all shards of the first."""

    @abstractmethod
    def misread(self, name: str) -> Iterator[tuple[Cause, Named]]:
        """Classic wrong readings of `name` in this architecture, and what they would give."""

    @abstractmethod
    def readings(self) -> Iterator[tuple[str, "Reference"]]:
        """Other readings of the same files that this architecture allows, each with its name."""

    def configured(self, config: Any) -> Iterator[tuple[str, Value, Value]]:
        """Every field of transformers' `config` that changes the mathematics: its name, what it
        says, and what the checkpoint says."""
        for name, field in self.fields.items():
            yield name, getattr(config, name), getattr(self.architecture, field)
        tied = "tie_word_embeddings"
        yield tied, str(bool(getattr(config, tied))), str(self.architecture.tie_word_embeddings)

    def converted(self, name: str, shards: Sequence[Tensor]) -> Iterator[tuple[str, Tensor]]:
        """What Megatron's `name`, of which the ranks hold `shards`, becomes in the converted file,
        by parity's own mapping."""
        stem, kind = name.rsplit(".", 1)
        layer, part = split_layer(stem) or ("", stem)
        arrays = self.joined(part, [shard.array for shard in shards])
        for target, array in zip(self.names[part], arrays, strict=True):
            laid = Tensor(shards[0].dtype, array)
            yield f"{target.format(layer)}.{kind}", self.as_stored(name, laid)

    def joined(self, part: str, arrays: Sequence[Array]) -> Sequence[Array]:
        """The arrays that module `part` becomes, of those that ranks hold."""
        if part == self.qkv:
            ranks = [self.heads(array.T) for array in arrays]
            every = [np.concatenate(of_one, axis=-2) for of_one in zip(*ranks, strict=True)]
            return [heads.reshape(*heads.shape[:-2], -1).T for heads in every]
        axis = 1 if part in (self.proj, self.down) else 0
        whole = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis)
        return [whole[: self.architecture.vocab_size] if f"{part}.weight" in VOCABULARY else whole]

    def embed(self, ids: Array) -> Array:
        """What the first layer is given for integer `ids` [B, S]: word embeddings [B, S, H], each
        rank's own looked up, and all summed; TokenIdError where ids do not fit."""
        self._require_known(ids)
        total = np.zeros((*ids.shape, self.architecture.n_embd), self.precision)
        for start, shard in self._vocabulary(WORD):
            held = (ids >= start) & (ids < start + len(shard.array))
            rows = Tensor(shard.dtype, shard.array[np.where(held, ids - start, 0)])
            total += np.where(held[..., None], self.widen(rows), 0)
        return total

    def layer(self, index: int, hidden: Array) -> Array:
        """Block `index` (0-based) of `hidden` [B, S, H], same shape."""
        prefix = f"layers.{index}."
        before_attention, before_mlp = (prefix + name for name in self.norms)
        hidden = hidden + self._attention(prefix, self.norm(before_attention, hidden))
        products = self.columns(prefix + self.up, self.norm(before_mlp, hidden))
        return hidden + self.reduce(prefix + self.down, self.activated(list(products)))

    def _attention(self, prefix: str, normed: Array) -> Array:
        contexts = []
        for mixed in self.columns(prefix + self.qkv, normed):
            laid = (np.ascontiguousarray(part.swapaxes(-3, -2)) for part in self.heads(mixed))
            query, key, value = laid
            query, key = self.placed(prefix, query, key)
            contexts.append(attend(query, key, value, self.architecture.sliding_window))
        return self.reduce(prefix + self.proj, contexts)

    def placed(self, prefix: str, query: Array, key: Array) -> Iterable[Array]:
        """Queries and keys [B, heads, S, size] as attention takes them."""
        return query, key

    def normed(self, ids: Array) -> Array:
        """The states before the head, [B, S, H], holding one layer's output at a time."""
        hidden = self.embed(ids)
        layers = range(self.architecture.n_layer)
        for index in watched(layers, f"reference, {ids.size} tokens, layer"):
            hidden = self.layer(index, hidden)
        return self.norm(FINAL_NORM, hidden)

    def project(self, normed: Array) -> Array:
        """Logits [..., vocab_size] of normed states [..., H]; the padding rows are cut off."""
        name = WORD if self.architecture.tie_word_embeddings else HEAD
        flat = normed.reshape(-1, normed.shape[-1])
        size = self.architecture.vocab_size
        logits = np.empty((len(flat), size), self.precision)
        for start, shard in self._vocabulary(name):
            for first in range(start, min(start + len(shard.array), size), HEAD_ROWS):
                rows = shard.array[first - start : min(first + HEAD_ROWS, size) - start]
                block = self.widen(Tensor(shard.dtype, rows))
                logits[:, first : first + len(block)] = flat @ block.T
        return logits.reshape(*normed.shape[:-1], size)

    def logits(self, ids: Array) -> Array:
        """Logits [B, S, vocab_size] of integer `ids` [B, S]; TokenIdError if they do not fit."""
        return self.project(self.normed(ids))

    def widen(self, tensor: Tensor) -> Array:
        """The values in `precision`, rounded first as the conversion was asked to."""
        return values(cast(tensor, self.stored)).astype(self.precision, copy=False)

    def as_stored(self, name: str, tensor: Tensor) -> Tensor:
        """`tensor` as the converted file should have it: a `layernorm_1p` weight with 1 added, and
        rounded as the conversion was asked to."""
        if self.architecture.layernorm_1p and name.endswith("layernorm.weight"):
            return add_one(tensor, self.stored)
        return cast(tensor, self.stored)

    def whole(self, name: str) -> Array:
        """A tensor that every rank holds alike, as the model computes with it."""
        return self.widen(self.as_stored(name, self.checkpoint.tensors[name][0]))

    def columns(self, name: str, given: Array) -> Iterator[Array]:
        """A column-parallel linear layer: each rank's own columns of the product."""
        weights = self.checkpoint.tensors[name + ".weight"]
        biases = self.checkpoint.tensors.get(name + ".bias")
        for rank, weight in enumerate(weights):
            product = given @ self.widen(weight).T
            yield product + self.widen(biases[rank]) if biases else product

    def reduce(self, name: str, parts: list[Array]) -> Array:
        """A row-parallel linear layer: the ranks' products summed, then the replicated bias."""
        weights = self.checkpoint.tensors[name + ".weight"]
        products = (
            part @ self.widen(weight).T for part, weight in zip(parts, weights, strict=True)
        )
        total: Array = sum(products, start=np.zeros((), self.precision))
        bias = name + ".bias"
        return total + self.whole(bias) if bias in self.checkpoint.tensors else total

    def _vocabulary(self, name: str) -> Iterator[tuple[int, Tensor]]:
        start = 0
        for shard in self.checkpoint.tensors[name]:
            yield start, shard
            start += len(shard.array)

    def _require_known(self, ids: Array) -> None:
        size, longest = self.architecture.vocab_size, self.architecture.n_positions
        if ids.size == 0 or ids.min() < 0 or ids.max() >= size or ids.shape[1] > longest:
            raise TokenIdError(
                "token ids",
                seen=f"{ids.shape} ids up to {ids.max() if ids.size else 'none'}",
                expected=f"ids below {size}, at most {longest} of them a sequence",
                remedy="Compare vocab_size and n_positions with the tokenizer.",
            )


def watched(items: Sequence[Item], what: str) -> Iterable[Item]:
    """The items; on a terminal, where they take long, with a line that says how far it is."""
    found: Iterable[Item] = tqdm(items, what, leave=False, disable=None, delay=PATIENCE)
    return found
