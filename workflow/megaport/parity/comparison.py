"""Logits and the outputs of blocks, both models', and how far apart rounding alone may put them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from megaport.parity.converted import Trace
from megaport.parity.reference import ROWS, Reference, watched
from megaport.table import FINAL_NORM
from megaport.tensors import Array

# Megatron's own logits are met within this by a right reading and missed by 2e-3 and more by a
# wrong GELU, on sixteen checkpoints written by Megatron (docs/how-it-works/parity.md).
FLOOR = 5e-5
# Two float32 implementations order their sums differently; each is about as far from the exact
# value as the reference is from itself in float64. Eight times leaves room for the tail.
FACTOR = 8.0
# At the least, what rounding to float32 (2**-24) leaves of a block's output after sums of a few
# terms, as a share of the largest number in it.
BLOCK_FLOOR = 1e-6


@dataclass(frozen=True)
class Limit:
    """How far apart two right float32 logits may be, and what that comes from."""

    value: float
    rounding: float

    @property
    def reason(self) -> str:
        return (
            f"{FACTOR:g} times what float32 costs the reference itself here (against its own "
            f"float64: {self.rounding:.2g}), at least {FLOOR:g}"
        )


class Comparison(NamedTuple):
    """Windows of S tokens, a value for each position [..., S]: the largest difference of its
    logits, KL(reference || converted) in nats, whether the argmax differs beyond (`wrong`) or
    within (`tie`) twice the limit; and the negative log likelihood of the next token on each side,
    [..., 2, S - 1]."""

    difference: Array
    kl: Array
    wrong: Array
    tie: Array
    nll: Array


@dataclass(frozen=True)
class BlockDifference:
    """The largest difference of one block's output, and the largest that rounding explains."""

    name: str
    difference: float
    limit: float

    @property
    def agrees(self) -> bool:
        return self.difference <= self.limit


def rounding_limit(reference: Reference, ids: Array) -> Limit:
    """The limit for this checkpoint, from the reference in both precisions on `ids` [1, S]."""
    single, double = (reference.at(p).logits(ids) for p in ("float32", "float64"))
    rounding = float(np.abs(single - double).max())
    return Limit(max(FLOOR, FACTOR * rounding), rounding)


def compare_model(
    reference: Reference, ids: Array, converted: Callable[[Array], Array], limit: float
) -> Comparison:
    """All windows `ids` [k, S] on both sides, one window's logits at a time."""
    windows = list(zip(reference.normed(ids), ids, strict=True))
    compared = [
        compare_logits(reference.project(normed), converted(row[None])[0], row, limit)
        for normed, row in watched(windows, f"both models, windows of {ids.shape[1]} tokens")
    ]
    return Comparison(*map(np.stack, zip(*compared, strict=True)))


def compare_logits(reference: Array, converted: Array, ids: Array, limit: float) -> Comparison:
    """Logits [S, V] of both sides for one window `ids` [S]."""
    blocks = [slice(i, i + ROWS) for i in range(0, len(ids), ROWS)]
    parts = [_rows(reference[b], converted[b], ids[1:][b], limit) for b in blocks]
    return Comparison(*(np.concatenate(each, axis=-1) for each in zip(*parts, strict=True)))


def compare_blocks(reference: Reference, ids: Array, trace: Trace) -> Iterator[BlockDifference]:
    """Every block (embedding, each layer, final norm, head) of a traced pass of `ids` [1, S].

    Each is given the converted model's own input to it, so that an error upstream does not spill
    over: the first block whose output differs is the first that is wrong.
    """
    single, double = (_outputs(reference.at(p), ids, trace) for p in ("float32", "float64"))
    for (name, mine, gave), (_, exact, _) in zip(single, double, strict=True):
        difference = float(np.abs(mine - gave).max())
        rounding = float(np.abs(mine - exact).max())
        limit = max(FACTOR * rounding, BLOCK_FLOOR * float(np.abs(exact).max()))
        yield BlockDifference(name, difference if np.isfinite(difference) else np.inf, limit)


def _outputs(reference: Reference, ids: Array, trace: Trace) -> Iterator[tuple[str, Array, Array]]:
    """Of each block its name, what the reference gives and what the converted model gave."""

    def given(array: Array) -> Array:
        return array.astype(reference.precision)

    yield "embedding", reference.embed(ids), trace.states[0]
    for index, (before, after) in enumerate(pairwise(trace.states)):
        yield f"layer {index}", reference.layer(index, given(before)), after
    yield "final norm", reference.norm(FINAL_NORM, given(trace.states[-1])), trace.normed
    # Not the ends of the vocabulary: a head off by one takes these from anywhere.
    inner = (..., slice(1, -1) if reference.architecture.vocab_size > 2 else slice(None))
    yield "head", reference.project(given(trace.normed))[inner], trace.logits[inner]


def log_softmax(logits: Array) -> Array:
    """Natural log probabilities along the last axis, float64."""
    values = logits.astype(np.float64)
    values -= values.max(axis=-1, keepdims=True)
    values -= np.log(np.exp(values).sum(axis=-1, keepdims=True))
    return values


def _rows(reference: Array, converted: Array, following: Array, limit: float) -> Comparison:
    """Of some rows; the last row of a window has no token `following`."""
    left, right = log_softmax(reference), log_softmax(converted)
    rows = np.arange(len(reference))
    chosen = (rows[: len(following)], following)
    nll = -np.stack([left[chosen], right[chosen]])
    best, other = reference.argmax(axis=-1), converted.argmax(axis=-1)
    # NaN is no tie: comparisons with it are false.
    tie = (best != other) & (reference[rows, best] - reference[rows, other] <= 2 * limit)
    right -= left
    np.exp(left, out=left)
    kl = -np.einsum("rv,rv->r", left, right)
    difference = np.abs(reference - converted).max(axis=-1)
    return Comparison(difference, kl, (best != other) & ~tie, tie, nll)
