"""Copies between arrays of different axis order at the speed of the cache."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from megaport.tensors import Array

# A block of 64 rows by 256 columns of 2 bytes is 32 KiB and stays in the first-level cache while it
# is turned; read straight from the source, the power-of-two strides of a weight evict each other.
ROWS, COLUMNS = 64, 256


def move(destination: Array, source: Array) -> None:
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
