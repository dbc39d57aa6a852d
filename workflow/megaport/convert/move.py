"""The elements of one tensor from their shards to where the model keeps them, chunk by chunk."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from megaport.checkpoint.finite import non_finite
from megaport.convert.dtype import add_one, cast, zeros
from megaport.convert.transforms import Piece, Pieces
from megaport.tensors import Array, Tensor

# Long enough that a chunk's overhead vanishes, short enough that it stays in the cache from being
# made to being hashed and written.
CHUNK_BYTES = 2 << 20
# A block of 64 rows by 256 columns of 2 bytes is 32 KiB and stays in the first-level cache while it
# is turned; read straight from the source, the power-of-two strides of a weight evict each other.
ROWS, COLUMNS = 64, 256


@dataclass
class Tally:
    """What became of one tensor's values: how many were no number, overflew, or became zero."""

    values: int = 0
    non_finite: int = 0
    overflown: int = 0
    zeroed: int = 0
    zeros: int = 0


def converted(
    found: Pieces, source: str, target: str, tally: Tally, *, plus_one: bool = False
) -> Iterator[Array]:
    """C-contiguous chunks in dtype `target` of a tensor whose shards have dtype `source`.

    `plus_one`: add 1 to every value. Goes on after a value that is no number or overflows, and
    counts it, so that every such tensor can be named.
    """
    change = add_one if plus_one else cast
    for moved in chunks(found):
        chunk = change(moved, source, target)
        bad = non_finite(Tensor(source, moved))
        tally.values += moved.size
        tally.non_finite += bad
        if chunk is not moved:
            tally.overflown += 0 if bad else non_finite(Tensor(target, chunk))
            zero = zeros(chunk, target)
            tally.zeros += zero
            tally.zeroed += zero and zero - zeros(moved, source)
        yield chunk


def chunks(found: Pieces) -> Iterator[Array]:
    """The tensor in order; views of a shard where its bytes lie as the model's do."""
    width = prod(found.inner) * found.pieces[0].view.itemsize
    step = max(ROWS, CHUNK_BYTES // max(1, width) // ROWS * ROWS)
    for start in range(0, found.rows, step):
        yield _rows(found, start, min(start + step, found.rows))


def _rows(found: Pieces, start: int, stop: int) -> Array:
    parts = [piece for piece in found.pieces if piece.start < stop and start < piece.stop]
    if len(parts) == 1 and not parts[0].columns:
        only = _within(parts[0], start, stop)
        if len(only) == stop - start and only.flags.c_contiguous:
            return only
    chunk = np.empty((stop - start, *found.inner), parts[0].view.dtype)
    for piece in parts:
        low, high = max(start, piece.start), min(stop, piece.stop)
        copy(chunk[(slice(low - start, high - start), *piece.columns)], _within(piece, low, high))
    return chunk


def _within(piece: Piece, start: int, stop: int) -> Array:
    """The rows of `piece` that are the model's rows `start` to `stop`."""
    return piece.view[max(0, start - piece.start) : stop - piece.start]


def copy(destination: Array, source: Array) -> None:
    """destination[...] = source for equal shapes and dtypes; fast where `source` is transposed."""
    if source.ndim < 2 or source.strides[0] != source.itemsize:
        np.copyto(destination, source)
        return
    turn = (*range(1, source.ndim), 0)
    back = (source.ndim - 1, *range(source.ndim - 1))
    columns = list(_column_blocks(source.shape[1:]))
    for start in range(0, source.shape[0], ROWS):
        for block in columns:
            at = (slice(start, start + ROWS), *block)
            packed = np.ascontiguousarray(source[at].transpose(turn))
            np.copyto(destination[at], packed.transpose(back))


def _column_blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Slices that cover `shape` in order, at most COLUMNS elements each."""
    steps, room = [], COLUMNS
    for length in reversed(shape):
        steps.append(max(1, min(length, room)))
        room //= max(1, length)
    starts = [range(0, n, step) for n, step in zip(shape, reversed(steps), strict=True)]
    for corner in product(*starts):
        yield tuple(slice(s, s + step) for s, step in zip(corner, reversed(steps), strict=True))
