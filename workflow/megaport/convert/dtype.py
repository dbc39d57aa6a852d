"""Changing a dtype, each value rounded once and counted; the only arithmetic of a conversion."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megaport.checkpoint.bits import non_finite
from megaport.tensors import STORAGE, Array, Tensor, widen


@dataclass
class Tally:
    """What became of one tensor's values: how many were no number, overflew, or became zero."""

    values: int = 0
    non_finite: int = 0
    overflown: int = 0
    zeroed: int = 0
    zeros: int = 0


def converted(
    chunks: Iterable[Array], source: str, target: str, tally: Tally, *, plus_one: bool = False
) -> Iterator[Array]:
    """The C-contiguous `chunks` of a tensor of dtype `source` in dtype `target`.

    `plus_one`: add 1 to every value. Goes on after a value that is no number or overflows, and
    counts it, so that every such tensor can be named.
    """
    change = add_one if plus_one else cast
    for moved in chunks:
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


def cast(array: Array, source: str, target: str) -> Array:
    """Finite values of dtype `source` in dtype `target`, rounded once, to nearest, ties to even.

    Overflow gives an infinity.
    """
    if source == target:
        return array
    if target == "BF16":
        return _round_to_bfloat16(_float32_for_bfloat16(array, source))
    with np.errstate(over="ignore"):
        return _values(array, source).astype(STORAGE[target])


def add_one(array: Array, source: str, target: str) -> Array:
    """1 + `array` of dtype `source`, in dtype `target`: what `layernorm_1p` multiplies by."""
    exact = _values(array, source).astype(np.float64) + 1.0
    return cast(exact, "F64", target)


def zeros(array: Array, dtype: str) -> int:
    """How many values are 0 or -0."""
    magnitudes = array & 0x7FFF if dtype == "BF16" else array
    return array.size - int(np.count_nonzero(magnitudes))


def _values(array: Array, dtype: str) -> Array:
    """`array` in a dtype NumPy computes with: BF16 widened to float32, which is exact."""
    return widen(Tensor(dtype, array)) if dtype == "BF16" else array


def _float32_for_bfloat16(array: Array, source: str) -> NDArray[np.float32]:
    """float32 that rounds to the same bfloat16; float64 is rounded to odd, so only once in effect.

    Rounding to odd: Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008.
    """
    if source != "F64":
        return _values(array, source).astype(np.float32)
    with np.errstate(over="ignore"):
        nearest = array.astype(np.float32)
    bits = nearest.view(np.uint32)
    inexact = nearest != array
    bits -= inexact & (np.abs(nearest) > np.abs(array))
    bits |= inexact
    return nearest


def _round_to_bfloat16(array: NDArray[np.float32]) -> NDArray[np.uint16]:
    bits = np.ascontiguousarray(array).view(np.uint32)
    half = 0x7FFF + ((bits >> 16) & 1)
    return ((bits + half) >> 16).astype(np.uint16)
