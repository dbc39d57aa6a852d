"""The converted model's forward pass, block by block, each beside the reference's.

Every block of the reference (embedding, each layer, final norm, head) is given the converted
model's own input to it, so that an error upstream does not spill over: the first block whose output
differs is the first that is wrong.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from megaport.parity.comparison import FACTOR
from megaport.parity.converted import Trace
from megaport.parity.reference import Reference
from megaport.tensors import Array

# As for logits the limit is eight times the reference's own float32 rounding of this block, and at
# least what rounding to float32 (2**-24) leaves after sums of a few terms.
FLOOR = 1e-6

Kind = Literal["embedding", "layer", "final norm", "head"]


@dataclass(frozen=True)
class Block:
    """One block of a traced forward pass: what went in and came out of the converted model."""

    name: str
    kind: Kind
    layer: int
    given: Array
    gave: Array

    def difference(self, reference: Reference) -> float:
        """The largest difference between the reference's output and the converted model's."""
        difference = np.abs(self._run(reference) - self.gave).max()
        return float(difference) if np.isfinite(difference) else float("inf")

    def limit(self, reference: Reference) -> float:
        """The largest difference that rounding explains."""
        single = self._run(reference)
        given = self.given if self.kind == "embedding" else self.given.astype(np.float64)
        double = replace(self, given=given)._run(reference.at("float64"))
        rounding = float(np.abs(single - double).max())
        return max(FACTOR * rounding, FLOOR * float(np.abs(double).max()))

    def _run(self, reference: Reference) -> Array:
        if self.kind == "embedding":
            return reference.embed(self.given)
        if self.kind == "layer":
            return reference.layer(self.layer, self.given)
        if self.kind == "final norm":
            return reference.final(self.given)
        # Not the ends of the vocabulary: a head off by one takes these from anywhere.
        return reference.project(self.given)[..., 1:-1]


@dataclass(frozen=True)
class BlockDifference:
    """What one block measured, and its limit."""

    name: str
    difference: float
    limit: float

    @property
    def agrees(self) -> bool:
        return self.difference <= self.limit


def blocks(ids: Array, trace: Trace) -> Iterator[Block]:
    """The blocks of one traced forward pass of `ids` [1, S], in order."""
    yield Block("embedding", "embedding", 0, ids, trace.states[0])
    for index, (given, gave) in enumerate(zip(trace.states, trace.states[1:], strict=False)):
        yield Block(f"layer {index}", "layer", index, given, gave)
    yield Block("final norm", "final norm", 0, trace.states[-1], trace.normed)
    yield Block("head", "head", 0, trace.normed, trace.logits[..., 1:-1])


def measure_blocks(reference: Reference, ids: Array, trace: Trace) -> tuple[BlockDifference, ...]:
    """Every block's difference and limit."""
    return tuple(
        BlockDifference(block.name, block.difference(reference), block.limit(reference))
        for block in blocks(ids, trace)
    )
