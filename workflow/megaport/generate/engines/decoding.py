"""The state of one batch while it is decoded, in buffers whose addresses never change."""

import torch
from torch import Tensor

from megaport.generate.engines.base import Batch
from megaport.generate.engines.fused import FusedStep
from megaport.generate.engines.network import Network
from megaport.generate.sampling import choose, uniforms

# Attention reads the filled slots rounded up to this: few graphs, little reading of empty slots.
SPAN = 64


class Decoding:
    """Buffers for `rows` rows and `slots` cache slots; reused by every batch of the same form."""

    def __init__(self, network: Network, batch: Batch, *, fused: bool = False) -> None:
        self.network, self.sampling = network, batch.sampling
        self.rows = len(batch.prompts)
        self.slots = _round_up(batch.width + batch.steps - 1)
        device = network.device
        self.cache = network.cache(self.rows, self.slots)
        self.mask = torch.empty(self.rows, 1, 1, self.slots, device=device, dtype=network.dtype)
        self.token = torch.zeros(self.rows, 1, device=device, dtype=torch.int64)
        self.position = torch.zeros_like(self.token)
        # Where a row's context begins, where its next keys go, and how many tokens it has.
        self.first = torch.zeros(self.rows, device=device, dtype=torch.int64)
        self.slot = torch.zeros_like(self.first)
        self.index = torch.zeros_like(self.first)
        self.output = torch.zeros(self.rows, self.slots, device=device, dtype=torch.int64)
        self.uniform = torch.zeros(self.slots, self.rows, device=device)
        self.finite = torch.ones(self.rows, device=device, dtype=torch.bool)
        self.ended = torch.zeros(self.rows, device=device, dtype=torch.bool)
        self.stop = torch.zeros(1, device=device, dtype=torch.int64)
        self.replays = device == "cuda"
        self.graphs: dict[int, torch.cuda.CUDAGraph | None] = {}
        self.filled = 0
        self.fused = FusedStep(network, self) if fused else None

    def fits(self, batch: Batch) -> bool:
        """Whether this decoding's buffers (and graphs) serve `batch` as they are."""
        same = (len(batch.prompts), batch.sampling) == (self.rows, self.sampling)
        return same and _round_up(batch.width + batch.steps - 1) == self.slots

    def prefill(self, batch: Batch) -> None:
        """Read the prompts, left-padded to one width, and choose the first token."""
        width, device = batch.width, self.network.device
        pads = torch.tensor([width - len(prompt) for prompt in batch.prompts])
        positions = (torch.arange(width) - pads[:, None]).clamp_(min=0)
        self._reset(batch, pads, width)
        logits = self.network(
            torch.tensor(batch.padded, device=device),
            positions.to(device),
            torch.arange(width, device=device),
            _prompt_mask(pads, width, self.mask) if pads.any() else None,
            self.cache,
            width,
        )
        self._choose(logits)
        if self.fused:
            self.fused.embed()

    def step(self) -> None:
        """Produce one token a row from the last one. On a GPU the second step of a span records a
        graph (the first has warmed every kernel up) and all later ones replay it."""
        self.filled += 1
        span = self.slots if self.fused else _round_up(self.filled)
        if not self.replays or span not in self.graphs:
            self.graphs[span] = None
            return self._step(span)
        graph = self.graphs[span] or self.capture(span)
        graph.replay()
        return None

    def inspect(self) -> tuple[bool, bool]:
        """(every logit row was finite, every row has met the stop token); synchronises."""
        finite, ended = torch.stack([self.finite.all(), self.ended.all()]).tolist()
        return finite, ended

    def produced(self, steps: int) -> list[list[int]]:
        """The first `steps` new tokens of each row."""
        rows: list[list[int]] = self.output[:, :steps].tolist()
        return rows

    def _reset(self, batch: Batch, pads: Tensor, width: int) -> None:
        columns = torch.arange(self.slots)
        hidden = (columns < pads[:, None]) | (columns >= width)
        self.mask.copy_(torch.zeros(hidden.shape).masked_fill_(hidden, -torch.inf)[:, None, None])
        self.clear(width)
        self.first.copy_(pads)
        self.position.copy_(width - pads[:, None])
        self.stop.fill_(-1 if batch.stop is None else batch.stop)
        self.filled = width
        if not batch.sampling.greedy:
            self.uniform[: batch.steps].copy_(uniforms(batch.seeds, batch.steps))

    def clear(self, slot: int) -> None:
        """Nothing produced yet, the next keys and values going to `slot`."""
        self.first.zero_()
        self.slot.fill_(slot)
        self.index.zero_()
        self.finite.fill_(True)
        self.ended.zero_()
        self.stop.fill_(-1)

    def advance(self, logits: Tensor) -> None:
        """Choose each row's token from logits [rows, vocabulary] and move on to the next."""
        # A row already at full length runs on beside the others; its tokens are cut off later.
        self.position.add_(1).clamp_(max=self.network.shape.positions - 1)
        self.slot.add_(1)
        self._choose(logits)

    def _step(self, span: int) -> None:
        if self.fused:
            return self.fused()
        slot = self.slot[:1]
        self.mask.index_fill_(3, slot, 0.0)
        logits = self.network(
            self.token, self.position, slot, self.mask[..., :span], self.cache, span
        )
        return self.advance(logits)

    def _choose(self, logits: Tensor) -> None:
        uniform = self.uniform.index_select(0, self.index[:1])[0]
        chosen, finite = choose(logits, self.sampling, uniform)
        self.finite.logical_and_(finite)
        self.ended.logical_or_(chosen == self.stop)
        self.token.copy_(chosen[:, None])
        self.output.index_copy_(1, self.index[:1], self.token)
        self.index.add_(1)

    def capture(self, span: int) -> torch.cuda.CUDAGraph:
        """The graph of a step over `span` slots, kept; recording it computes nothing."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step(span)
        self.graphs[span] = graph
        return graph


def _round_up(slots: int) -> int:
    return -(-slots // SPAN) * SPAN


def _prompt_mask(pads: Tensor, width: int, like: Tensor) -> Tensor:
    """[rows, 1, width, width] added to scores: causal, no padding; a padded query sees itself, as a
    row that sees nothing becomes NaN and spreads through its keys."""
    columns = torch.arange(width)
    seen = (columns[None, :] <= columns[:, None]) & (columns >= pads[:, None])[:, None]
    seen |= torch.eye(width, dtype=torch.bool)
    mask = torch.zeros(seen.shape).masked_fill_(~seen, -torch.inf)
    return mask[:, None].to(device=like.device, dtype=like.dtype)
