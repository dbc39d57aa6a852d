"""The converted model's forward pass, block by block, each beside the reference's.

Every block of the reference (embedding, each layer, final norm, head) is given the converted
model's own input to it, so that an error upstream does not spill over: the first block whose output
differs is the first that is wrong.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from megaport.parity.comparison import FACTOR
from megaport.parity.converted import Trace
from megaport.parity.reference import Reference
from megaport.tensors import Array

# As for logits the limit is eight times the reference's own float32 rounding of this block, and at
# least what rounding to float32 (2**-24) leaves after sums of a few terms.
FLOOR = 1e-6

Run = Callable[[Reference, Array], Array]
# A block's name, how a reference runs it, and what went in and came out of the converted model.
Block = tuple[str, Run, Array, Array]


@dataclass(frozen=True)
class BlockDifference:
    """The largest difference of one block's output, and the largest that rounding explains."""

    name: str
    difference: float
    limit: float

    @property
    def agrees(self) -> bool:
        return self.difference <= self.limit


def measure_blocks(reference: Reference, ids: Array, trace: Trace) -> tuple[BlockDifference, ...]:
    """Every block of one traced forward pass of `ids` [1, S], in order."""
    return tuple(_measured(reference, *block) for block in _blocks(ids, trace))


def _blocks(ids: Array, trace: Trace) -> Iterator[Block]:
    yield "embedding", lambda r, given: r.embed(given), ids, trace.states[0]
    for index, (given, gave) in enumerate(zip(trace.states, trace.states[1:], strict=False)):
        yield f"layer {index}", _layer(index), given, gave
    yield "final norm", lambda r, given: r.final(given), trace.states[-1], trace.normed
    # Not the ends of the vocabulary: a head off by one takes these from anywhere.
    inner = (..., slice(1, -1))
    yield "head", lambda r, given: r.project(given)[inner], trace.normed, trace.logits[inner]


def _layer(index: int) -> Run:
    return lambda reference, given: reference.layer(index, given)


def _measured(
    reference: Reference, name: str, run: Run, given: Array, gave: Array
) -> BlockDifference:
    single = run(reference, given)
    exact = given if given.dtype.kind == "i" else given.astype(np.float64)
    double = run(reference.at("float64"), exact)
    difference = float(np.abs(single - gave).max())
    rounding = float(np.abs(single - double).max())
    limit = max(FACTOR * rounding, FLOOR * float(np.abs(double).max()))
    return BlockDifference(name, difference if np.isfinite(difference) else np.inf, limit)
