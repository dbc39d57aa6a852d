"""Which classic conversion mistake makes exactly the bytes that a converted file has.

Each mistake is made on purpose, by parity's own mapping, and the result compared bit by bit: what
matches is what the conversion did. No number is computed.
"""

from collections.abc import Iterator
from itertools import chain, combinations

import numpy as np

from megaport.parity.reference import VOCABULARY, Named, Reference
from megaport.parity.verdict import Cause
from megaport.table import split_layer
from megaport.tensors import Array, Tensor


def find_cause(
    reference: Reference, source: str, name: str, expected: Tensor, found: Array
) -> Cause | None:
    """The mistake that turns Megatron's `source` into the bits `found` of tensor `name`."""
    if found.size and (found == found.flat[0]).all():
        return Cause("constant", "every element is the same")
    if cause := _shifted(source, expected.array.view(found.dtype), found):
        return cause
    laid = np.ascontiguousarray(expected.array.T).reshape(expected.shape)
    if _same(Tensor(expected.dtype, laid), found):
        return Cause("transpose", "not transposed")
    for cause, made in chain(_misplaced(reference, source), reference.misread(source)):
        if any(_same(tensor, found) for called, tensor in made if called == name):
            return cause
    for called, tensor, swapped in _others(reference, source):
        if called != name and _same(tensor, found):
            return Cause(swapped, f"it is {called}")
    return None


def _misplaced(reference: Reference, source: str) -> Iterator[tuple[Cause, Named]]:
    """Ranks in another order, or taken for one."""
    shards = reference.checkpoint.tensors[source]
    parts = max(1, len(shards) // reference.checkpoint.tensor_parallel)
    ranks = [shards[at : at + parts] for at in range(0, len(shards), parts)]
    for first, second in combinations(range(len(ranks)), 2):
        order = list(ranks)
        order[first], order[second] = order[second], order[first]
        cause = Cause("TP ranks swapped", f"tensor-parallel ranks {first} and {second} swapped")
        yield cause, reference.converted(source, list(chain(*order)))
    if len(ranks) > 1:
        joined = Tensor(shards[0].dtype, np.concatenate([shard.array for shard in shards]))
        cause = Cause("ranks joined first", "the ranks joined before each one's rows were undone")
        yield cause, reference.converted(source, [joined])


def _others(reference: Reference, source: str) -> Iterator[tuple[str, Tensor, str]]:
    """What belongs elsewhere: another tensor of the layer, or the same one of another layer."""
    layer, part = split_layer(source) or (None, source)
    for other, shards in reference.checkpoint.tensors.items():
        its_layer, its_part = split_layer(other) or (None, other)
        if its_layer == layer or its_part == part:
            swapped = "layers swapped" if its_layer != layer else "tensors swapped"
            for name, tensor in reference.converted(other, shards):
                yield name, tensor, swapped


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
    alike = tensor.shape == found.shape and tensor.array.itemsize == found.itemsize
    return alike and np.array_equal(tensor.array.view(found.dtype), found)
