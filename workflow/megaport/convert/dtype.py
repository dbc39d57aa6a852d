"""Changing a dtype, each value rounded once; the only arithmetic of a conversion."""

import numpy as np
from numpy.typing import NDArray

from megaport.tensors import STORAGE, TORCH_NAME, Array, Tensor, widen

BY_TORCH_NAME = {name: dtype for dtype, name in TORCH_NAME.items()}


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
