"""Megatron's GPT-2 forward pass in NumPy, from the checkpoint's own tensors.

Written from the GPT-2 and Megatron-LM papers (Radford et al. 2019; Shoeybi et al. 2019, section 3).
Tensor parallelism is executed, not undone: each rank attends with its own heads and multiplies with
its own columns, and the ranks' partial products are summed, as the all-reduce of that paper's
figure 3 does. So no row is ever permuted here, and nothing is shared with the converter.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from megaport.checkpoint.model import Checkpoint
from megaport.errors import MegaportError
from megaport.parity.attention import attend, split_heads
from megaport.parity.gelu import activation
from megaport.parity.rounding import add_one, cast
from megaport.table import Architecture
from megaport.tensors import Array, Tensor, widen

Precision = Literal["float32", "float64"]

# Rows of the head multiplied at once, so that a widened vocabulary never stands in memory.
HEAD_ROWS = 8192


class TokenIdError(MegaportError):
    """Token ids the model has no embedding for, or more of them than it has positions."""


@dataclass(frozen=True)
class Reference:
    """The forward pass of one checkpoint; tensors are widened one layer at a time.

    `precision` is that of every array; hidden states are [batch, positions, n_embd]. `stored` is
    the dtype (a safetensors name) that the conversion was asked to round to, None for none.
    """

    checkpoint: Checkpoint
    architecture: Architecture
    precision: Precision = "float32"
    stored: str | None = None

    def embed(self, ids: Array) -> Array:
        """Word plus position embedding of integer `ids` [B, S] -> [B, S, n_embd]."""
        self._check(ids)
        words = sum(
            (self._rows_of(ids, shard, start) for start, shard in self._vocabulary()),
            start=np.zeros((*ids.shape, self.architecture.n_embd), self.precision),
        )
        positions = self._widen(self.checkpoint.tensors["position_embeddings.weight"][0])
        return words + positions[: ids.shape[1]]

    def layer(self, index: int, hidden: Array) -> Array:
        """Block `index` (0-based) of `hidden` [B, S, n_embd], same shape; pre-LN residual form."""
        prefix = f"layers.{index}."
        normed = self._norm(prefix + "input_layernorm", hidden)
        hidden = hidden + self._attention(prefix + "attention.", normed)
        normed = self._norm(prefix + "post_attention_layernorm", hidden)
        return hidden + self._mlp(prefix + "mlp.", normed)

    def hidden_states(self, ids: Array) -> Iterator[Array]:
        """The embeddings, then the output of each layer: n_layer + 1 arrays [B, S, n_embd]."""
        hidden = self.embed(ids)
        yield hidden
        for index in range(self.architecture.n_layer):
            hidden = self.layer(index, hidden)
            yield hidden

    def final(self, hidden: Array) -> Array:
        """The final LayerNorm of `hidden` [..., n_embd]."""
        return self._norm("final_layernorm", hidden)

    def project(self, normed: Array) -> Array:
        """Logits [..., vocab_size] of normed states [..., n_embd]; the padding rows are cut off."""
        name = "word_embeddings.weight"
        if not self.architecture.tie_word_embeddings:
            name = "output_layer.weight"
        flat = normed.reshape(-1, normed.shape[-1])
        size = self.architecture.vocab_size
        logits = np.empty((len(flat), size), self.precision)
        start = 0
        for shard in self.checkpoint.tensors[name]:
            for first in range(0, len(shard.array), HEAD_ROWS):
                rows = Tensor(shard.dtype, shard.array[first : first + HEAD_ROWS])
                kept = min(len(rows.array), size - start)
                if kept > 0:
                    block = self._widen(rows)[:kept]
                    logits[:, start : start + kept] = flat @ block.T
                start += len(rows.array)
        return logits.reshape(*normed.shape[:-1], size)

    def normed(self, ids: Array) -> Array:
        """The states before the head, [B, S, n_embd], holding one layer's output at a time."""
        hidden = self.embed(ids)
        for index in range(self.architecture.n_layer):
            hidden = self.layer(index, hidden)
        return self.final(hidden)

    def logits(self, ids: Array) -> Array:
        """Logits [B, S, vocab_size] of integer `ids` [B, S]; TokenIdError if they do not fit."""
        return self.project(self.normed(ids))

    def _check(self, ids: Array) -> None:
        size, longest = self.architecture.vocab_size, self.architecture.n_positions
        if ids.size == 0 or ids.min() < 0 or ids.max() >= size or ids.shape[1] > longest:
            raise TokenIdError(
                "token ids",
                seen=f"{ids.shape} ids up to {ids.max() if ids.size else 'none'}",
                expected=f"ids below {size}, at most {longest} of them a sequence",
                remedy="Compare vocab_size and n_positions with the tokenizer.",
            )

    def _widen(self, tensor: Tensor) -> Array:
        kept = cast(tensor, self.stored)
        values = kept.array if kept.dtype == "F64" else widen(kept)
        return values.astype(self.precision, copy=False)

    def _vocabulary(self) -> Iterator[tuple[int, Tensor]]:
        start = 0
        for shard in self.checkpoint.tensors["word_embeddings.weight"]:
            yield start, shard
            start += len(shard.array)

    def _rows_of(self, ids: Array, shard: Tensor, start: int) -> Array:
        """The embeddings of the ids this rank holds, zero for the others: Megatron's lookup."""
        held = (ids >= start) & (ids < start + len(shard.array))
        rows = Tensor(shard.dtype, shard.array[np.where(held, ids - start, 0)])
        return np.where(held[..., None], self._widen(rows), 0).astype(self.precision, copy=False)

    def _norm(self, name: str, hidden: Array) -> Array:
        weight = self.checkpoint.tensors[name + ".weight"][0]
        if self.architecture.layernorm_1p:
            weight = add_one(weight, self.stored)
        bias = self._widen(self.checkpoint.tensors[name + ".bias"][0])
        centred = hidden - hidden.mean(axis=-1, keepdims=True)
        variance = np.mean(centred * centred, axis=-1, keepdims=True)
        epsilon = hidden.dtype.type(self.architecture.layer_norm_epsilon)
        normed: Array = centred / np.sqrt(variance + epsilon) * self._widen(weight) + bias
        return normed

    def _ranks(self, name: str) -> Iterator[tuple[Array, Array]]:
        """Each rank's weight and bias of a column-parallel linear layer."""
        weights = self.checkpoint.tensors[name + ".weight"]
        biases = self.checkpoint.tensors[name + ".bias"]
        for weight, bias in zip(weights, biases, strict=True):
            yield self._widen(weight), self._widen(bias)

    def _reduce(self, name: str, parts: list[Array]) -> Array:
        """A row-parallel linear layer: the ranks' products summed, then the replicated bias."""
        weights = self.checkpoint.tensors[name + ".weight"]
        total = self._widen(self.checkpoint.tensors[name + ".bias"][0])
        for part, weight in zip(parts, weights, strict=True):
            total = total + part @ self._widen(weight).T
        return total

    def _attention(self, prefix: str, normed: Array) -> Array:
        name = prefix + "query_key_value"
        width = self.architecture.n_embd // self.architecture.n_head
        contexts = []
        for weight, bias in self._ranks(name):
            query, key, value = split_heads(
                normed @ weight.T + bias, self.checkpoint.qkv_order, len(weight) // 3 // width
            )
            contexts.append(attend(query, key, value))
        return self._reduce(prefix + "dense", contexts)

    def _mlp(self, prefix: str, normed: Array) -> Array:
        act = activation(self.architecture.activation_function)
        parts = [act(normed @ w.T + b) for w, b in self._ranks(prefix + "dense_h_to_4h")]
        return self._reduce(prefix + "dense_4h_to_h", parts)
