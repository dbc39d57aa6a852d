"""Changing the dtype of a checkpoint's tensor as a conversion with `dtype:` should have done."""

import numpy as np

from megaport.tensors import STORAGE, Array, Tensor, widen

# bfloat16 has 8 significant bits; its smallest positive number is 2**-133 (subnormal).
BF16_BITS, BF16_SMALLEST = 8, -133


def cast(tensor: Tensor, dtype: str | None) -> Tensor:
    """`tensor` with elements of `dtype` (a safetensors name), rounded once to nearest even.

    None, or its own dtype, returns it untouched: then no bit may change.
    """
    if dtype is None or dtype == tensor.dtype:
        return tensor
    return Tensor(dtype, _round(values(tensor), dtype))


def add_one(tensor: Tensor, dtype: str | None) -> Tensor:
    """A `layernorm_1p` weight as LayerNorm uses it: 1 added, rounded to what it is stored in."""
    exact = values(tensor).astype(np.float64) + 1.0
    stored = dtype or tensor.dtype
    return Tensor(stored, _round(exact, stored))


def values(tensor: Tensor) -> Array:
    """float64 as it is, the rest widened to float32."""
    return tensor.array if tensor.dtype == "F64" else widen(tensor)


def _round(exact: Array, dtype: str) -> Array:
    with np.errstate(over="ignore"):
        if dtype == "BF16":
            return _to_bfloat16(exact.astype(np.float64))
        return exact.astype(STORAGE[dtype])


def _to_bfloat16(exact: Array) -> Array:
    """float64 -> bfloat16 in uint16: a whole multiple of the last place, so float32 holds it."""
    _, exponent = np.frexp(exact)
    last = np.maximum(exponent - BF16_BITS, BF16_SMALLEST)
    rounded = np.ldexp(np.rint(np.ldexp(exact, -last)), last).astype(np.float32)
    return (np.ascontiguousarray(rounded).view(np.uint32) >> 16).astype(np.uint16)
