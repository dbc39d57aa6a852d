"""Which classic conversion mistake makes exactly the bytes that a converted file has.

Each mistake is made on purpose, by parity's own mapping, and the result compared bit by bit: what
matches is what the conversion did. No number is computed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np

from megaport.parity.reference import VOCABULARY, Reference
from megaport.table import split_layer
from megaport.tensors import Array, Tensor


@dataclass(frozen=True)
class Cause:
    """`name` is the kind of mistake, `sentence` what the converted tensor then is."""

    name: str
    sentence: str


def find_cause(
    reference: Reference, source: str, name: str, expected: Tensor, found: Array
) -> Cause | None:
    """The mistake that turns Megatron's `source` into the bits `found` of tensor `name`."""
    if found.size and (found == found.flat[0]).all():
        return Cause("constant", "every element is the same")
    if cause := _shifted(source, expected.array.view(found.dtype), found):
        return cause
    for cause, tensor in _mistakes(reference, source, name, expected):
        if tensor.shape == found.shape and _same(tensor, found):
            return cause
    return None


def _mistakes(
    reference: Reference, source: str, name: str, expected: Tensor
) -> Iterator[tuple[Cause, Tensor]]:
    shards = reference.checkpoint.tensors[source]
    laid = np.ascontiguousarray(expected.array.T).reshape(expected.shape)
    yield Cause("transpose", "not transposed"), Tensor(expected.dtype, laid)
    parts = reference.parts(source)
    ranks = [shards[at : at + parts] for at in range(0, len(shards), parts)]
    for first, second in combinations(range(len(ranks)), 2):
        order = list(ranks)
        order[first], order[second] = order[second], order[first]
        cause = Cause("TP ranks swapped", f"tensor-parallel ranks {first} and {second} swapped")
        yield from _named(cause, name, reference.converted(source, list(chain(*order))))
    if len(ranks) > 1:
        joined = Tensor(shards[0].dtype, np.concatenate([shard.array for shard in shards]))
        cause = Cause("ranks joined first", "the ranks joined before each one's rows were undone")
        yield from _named(cause, name, reference.converted(source, [joined]))
    for what, sentence, misread in reference.misread(source):
        yield from _named(Cause(what, sentence), name, misread)
    yield from _others(reference, source, name)


def _others(reference: Reference, source: str, name: str) -> Iterator[tuple[Cause, Tensor]]:
    """What belongs elsewhere: another tensor of the layer, or the same one of another layer."""
    layer, part = split_layer(source) or (None, source)
    for other, shards in reference.checkpoint.tensors.items():
        its_layer, its_part = split_layer(other) or (None, other)
        if its_layer == layer or its_part == part:
            swapped = "layers swapped" if its_layer != layer else "tensors swapped"
            for converted, tensor in reference.converted(other, shards):
                if converted != name:
                    yield Cause(swapped, f"it is {converted}"), tensor


def _named(
    cause: Cause, name: str, converted: Iterator[tuple[str, Tensor]]
) -> Iterator[tuple[Cause, Tensor]]:
    yield from ((cause, tensor) for found, tensor in converted if found == name)


def _shifted(source: str, expected: Array, found: Array) -> Cause | None:
    """Rows off by one, either way; rows at the ends may come from anywhere."""
    if found.shape[1:] != expected.shape[1:] or abs(len(found) - len(expected)) > 1:
        return None
    what = "vocabulary" if source in VOCABULARY else "rows"
    for by, mine, theirs in ((1, expected[1:], found), (-1, expected, found[1:])):
        rows = min(len(mine), len(theirs))
        if rows and np.array_equal(mine[:rows], theirs[:rows]):
            return Cause(f"{what} off by one", f"row i holds row i{by:+d}")
    if len(found) != len(expected):
        return Cause(f"{what} off by one", f"{len(found) - len(expected):+d} row")
    return None


def _same(tensor: Tensor, found: Array) -> bool:
    return tensor.array.itemsize == found.itemsize and np.array_equal(
        tensor.array.view(found.dtype), found
    )
