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
    """How many values are NaN or infinite; 0 for integers. Reads the bytes once, in blocks."""
    if tensor.dtype not in _EXPONENTS:
        return 0
    mask = _EXPONENTS[tensor.dtype]
    count = 0
    for block in _blocks(tensor.array):
        bits = block.view(mask.dtype) & mask
        # The maximum is several times cheaper than comparing, and nearly always below the mask.
        if bits.size and bits.max() == mask:
            count += int(np.count_nonzero(bits == mask))
    return count


def _blocks(array: Array) -> Iterator[Array]:
    """Contiguous one-dimensional pieces of at most about BLOCK elements that cover the array."""
    if array.flags.c_contiguous:
        flat = array.reshape(-1)
        for start in range(0, flat.size, BLOCK):
            yield flat[start : start + BLOCK]
        return
    rows = max(1, BLOCK * max(1, len(array)) // max(1, array.size))
    for start in range(0, len(array), rows):
        yield np.ascontiguousarray(array[start : start + rows]).reshape(-1)


_BLOCK_BYTES = 1 << 20


def same_bits(first: Tensor, second: Tensor) -> bool:
    """Whether dtype, shape and every bit agree (NaN equals itself); blockwise, nothing copied."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    rows = first.shape[0] if first.shape else 0
    if not rows:
        return first.array.tobytes() == second.array.tobytes()
    word = np.dtype(f"u{STORAGE[first.dtype].itemsize}")
    step = max(1, _BLOCK_BYTES * rows // max(1, first.nbytes))
    return all(
        np.array_equal(
            first.array[start : start + step].view(word),
            second.array[start : start + step].view(word),
        )
        for start in range(0, rows, step)
    )


def is_constant(tensor: Tensor) -> bool:
    """Whether all bits of every element are the first one's; ends at the first that differs."""
    array, word = np.atleast_1d(tensor.array), np.dtype(f"u{STORAGE[tensor.dtype].itemsize}")
    rows = max(1, _BLOCK_BYTES * len(array) // max(1, tensor.nbytes))
    first = np.ascontiguousarray(array[:1]).view(word).reshape(-1)[:1]
    return all(
        bool((np.ascontiguousarray(array[at : at + rows]).view(word) == first).all())
        for at in range(0, len(array), rows)
    )


def alike(first: Shards, second: Shards) -> bool:
    """Whether two tensors are the same bits, shard by shard."""
    return len(first) == len(second) and all(map(same_bits, first, second))
