"""GPT-2's forward pass over a preallocated key-value cache: the heart of the fast engine.

Everything that changes from token to token lies in tensors of fixed address and shape, so that
one and the same step runs eagerly on a CPU and as a captured CUDA graph.
"""

import functools
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from megaport.generate.engines.block import LARGEST_HEAD, Block, DecodeStep
from megaport.generate.engines.linear import Linear, candidates, fastest, plain, usual
from megaport.generate.engines.pages import on_huge_pages
from megaport.generate.model_files import SMALL, Shape

# Tensor cores want rows in multiples of 8 elements; 64 is what training pads to, too.
VOCABULARY_MULTIPLE = 64
# Bytes of weights in a trial: beyond most caches, read in milliseconds; tokens of its context.
TRIAL_BYTES, TRIAL_SPAN = 96 * 2**20, 64


@dataclass(frozen=True)
class Layer:
    norm1: tuple[Tensor, Tensor]
    qkv: Linear
    out: Linear
    norm2: tuple[Tensor, Tensor]
    up: Linear
    down: Linear


class Network:
    """Packed weights of one GPT-2 on one device, in one dtype."""

    def __init__(self, shape: Shape, weights: dict[str, Tensor], device: str, dtype: torch.dtype):
        self.shape, self.device, self.dtype = shape, device, dtype
        self._weights = weights
        rows = -shape.vocabulary % VOCABULARY_MULTIPLE if device == "cuda" else 0
        self.tokens = on_huge_pages(functional.pad(self._take("wte.weight"), (0, 0, 0, rows)))
        self.positions = self._take("wpe.weight")
        head = self.tokens if shape.tied else on_huge_pages(self._take("lm_head.weight"))
        kind, self.tried = usual(device, dtype), ""
        # A small model gains nothing, and its texts shall hang on no measurement.
        if device == "cpu" and shape.weights * dtype.itemsize >= SMALL:
            kind, self.tried = self._fastest()
        self._build(kind, shape.layers)
        self.head = kind(head, None, "")
        self.norm = self._norm("ln_f")

    def _build(self, kind: type[Linear], layers: int) -> None:
        """The first so many layers, their products of one kind."""
        self.kind = kind
        self.layers = [self._layer(f"h.{number}.") for number in range(layers)]
        fits = self.shape.hidden // self.shape.heads <= LARGEST_HEAD
        self.block_rows = kind.block_rows if fits else 0
        self.blocks = [_block(layer) for layer in self.layers] if self.block_rows else []
        self._step: tuple[tuple[int, int], DecodeStep] | None = None

    def _fastest(self) -> tuple[type[Linear], str]:
        """Whole layers are tried: what a kind saves beside its products counts as much."""
        s = self.shape
        layer = (4 * s.hidden + 2 * s.inner) * s.hidden * self.dtype.itemsize
        layers = min(s.layers, -(-TRIAL_BYTES // layer))
        return fastest(
            candidates(self.dtype), lambda kind: self._trial(kind, layers), layer * layers
        )

    def _trial(self, kind: type[Linear], layers: int) -> Callable[[int], Tensor]:
        """A decode step of so many rows through the first layers."""
        trial = copy(self)
        trial._weights = dict(self._weights)
        trial._build(kind, layers)
        cache = functools.cache(lambda rows: trial.cache(rows, TRIAL_SPAN))

        def run(rows: int) -> Tensor:
            x = torch.ones(rows, 1, self.shape.hidden, dtype=self.dtype)
            slots, mask = torch.zeros(1, dtype=torch.int64), x.new_zeros(rows, 1, 1, TRIAL_SPAN)
            return trial._through(x, slots, mask, cache(rows), TRIAL_SPAN)

        return run

    def cache(self, rows: int, slots: int) -> list[Tensor]:
        """Keys and values of each layer: [rows, 2, heads, slots, head size], zeros."""
        s = self.shape
        size = (rows, 2, s.heads, slots, s.hidden // s.heads)
        return [torch.zeros(size, device=self.device, dtype=self.dtype) for _ in self.layers]

    def __call__(
        self,
        tokens: Tensor,
        positions: Tensor,
        slots: Tensor,
        mask: Tensor | None,
        cache: list[Tensor],
        span: int,
    ) -> Tensor:
        """Logits [rows, vocabulary] after the last of `tokens` int64 [rows, n].

        `positions` int64 [rows, n]; `slots` int64 [n] is where the cache takes their keys and
        values; `mask` [rows, 1, n, span] is added to the scores (None: causal among the n);
        attention reads the first `span` slots.
        """
        x = functional.embedding(tokens, self.tokens) + functional.embedding(
            positions, self.positions
        )
        x = self._through(x, slots, mask, cache, span)
        logits = self.head(self._normed(x[:, -1], self.norm))
        return logits[:, : self.shape.vocabulary]

    def _through(
        self, x: Tensor, slots: Tensor, mask: Tensor | None, cache: list[Tensor], span: int
    ) -> Tensor:
        rows, count, _ = x.shape
        if mask is not None and count == 1 and rows <= self.block_rows:
            return self._by_blocks(x, slots, mask, cache)
        for layer, stored in zip(self.layers, cache, strict=True):
            x = self._block(layer, x, slots, mask, stored, span)
        return x

    def _by_blocks(self, x: Tensor, slots: Tensor, mask: Tensor, cache: list[Tensor]) -> Tensor:
        form = (x.shape[0], cache[0].shape[3])
        if self._step is None or self._step[0] != form:
            self._step = form, DecodeStep(self.shape, *form, self.dtype)
        step = self._step[1]
        step.at(int(slots), mask)
        stream = x[:, 0].float()
        for block, stored in zip(self.blocks, cache, strict=True):
            block(step, stream, stored, mask)
        return stream[:, None].to(x.dtype)

    def _block(
        self,
        layer: Layer,
        x: Tensor,
        slots: Tensor,
        mask: Tensor | None,
        stored: Tensor,
        span: int,
    ) -> Tensor:
        rows, count, hidden = x.shape
        qkv = layer.qkv(self._normed(x, layer.norm1))
        split = qkv.view(rows, count, 3, self.shape.heads, -1).permute(0, 2, 3, 1, 4)
        stored.index_copy_(3, slots, split[:, 1:])
        mixed = functional.scaled_dot_product_attention(
            split[:, 0],
            stored[:, 0, :, :span],
            stored[:, 1, :, :span],
            attn_mask=mask,
            is_causal=mask is None,
        )
        x = layer.out(mixed.transpose(1, 2).reshape(rows, count, hidden), residual=x)
        return layer.down(layer.up(self._normed(x, layer.norm2)), residual=x)

    def _normed(self, x: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
        return functional.layer_norm(x, (self.shape.hidden,), *norm, eps=self.shape.epsilon)

    def _layer(self, prefix: str) -> Layer:
        return Layer(
            self._norm(prefix + "ln_1"),
            self._linear(prefix + "attn.c_attn"),
            self._linear(prefix + "attn.c_proj"),
            self._norm(prefix + "ln_2"),
            self._linear(prefix + "mlp.c_fc", gelu=self.shape.gelu),
            self._linear(prefix + "mlp.c_proj"),
        )

    def _linear(self, name: str, gelu: str = "") -> Linear:
        return self.kind(self._take(f"{name}.weight").t(), self._take(f"{name}.bias"), gelu)

    def _norm(self, name: str) -> tuple[Tensor, Tensor]:
        return self._take(f"{name}.weight"), self._take(f"{name}.bias")

    def _take(self, name: str) -> Tensor:
        # Taken out one by one, so that the stored form of a layer goes as its packed form comes.
        return self._weights.pop(name).to(device=self.device, dtype=self.dtype)


def _block(layer: Layer) -> Block:
    qkv, out, up, down = map(_kept, (layer.qkv, layer.out, layer.up, layer.down))
    return Block([*layer.norm1, *qkv, *out, *layer.norm2, *up, *down])


def _kept(linear: Linear) -> tuple[Tensor, Tensor]:
    own = plain(linear)
    assert own.bias is not None
    return own.weight, own.bias
