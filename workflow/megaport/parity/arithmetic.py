"""What the references compute with, in NumPy: rounding, activations, attention, positions."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from megaport.tensors import STORAGE, Array, Tensor, widen

# bfloat16 has 8 significant bits; its smallest positive number is 2**-133 (subnormal).
BF16_BITS, BF16_SMALLEST = 8, -133
# erf is within 1e-17 of 1 beyond the last node, so the clamp costs nothing in either precision.
NODES_PER_UNIT, EDGE = 256, 6
_X = np.arange(EDGE * NODES_PER_UNIT + 1) / NODES_PER_UNIT
_ERF = np.array([math.erf(value) for value in _X])
_SLOPE = 2.0 / math.sqrt(math.pi) * np.exp(-_X * _X)


def cast(tensor: Tensor, dtype: str | None) -> Tensor:
    """`tensor` with elements of `dtype` (a safetensors name), rounded once to nearest even, as a
    conversion with `dtype:` should have done.

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


def erf(x: Array) -> Array:
    """The error function of float32 or float64 `x`, same shape and dtype.

    Computed in float64 by a third order Taylor series about nodes 1/256 apart: the remainder is at
    most max|erf''''| / 24 * (1/512)^4 < 4e-12.
    """
    size = np.minimum(np.abs(x, dtype=np.float64), EDGE)
    node = np.rint(size * NODES_PER_UNIT).astype(np.intp)
    at = _X[node]
    d = size - at
    # erf'' = -2x erf', erf''' = (4x^2 - 2) erf'.
    series = 1.0 + d * (-at + d * (2.0 * at * at - 1.0) / 3.0)
    found: Array = np.copysign(_ERF[node] + _SLOPE[node] * d * series, x)
    return found.astype(x.dtype)


def gelu_erf(x: Array) -> Array:
    """x * Phi(x) (Hendrycks and Gimpel 2016, eq. 1), in the dtype of `x`."""
    half = x.dtype.type(0.5)
    out: Array = half * x * (1 + erf(x * x.dtype.type(math.sqrt(0.5))))
    return out


def gelu_tanh(x: Array) -> Array:
    """The tanh approximation of the same paper, which OpenAI's GPT-2 uses, in the dtype of `x`."""
    kind = x.dtype.type
    inner = kind(math.sqrt(2.0 / math.pi)) * (x + kind(0.044715) * (x * x * x))
    out: Array = kind(0.5) * x * (1 + np.tanh(inner))
    return out


def relu(x: Array) -> Array:
    """max(x, 0), in the dtype of `x`."""
    return np.maximum(x, 0)


def silu(x: Array) -> Array:
    """x times the logistic function of x (the swish of SwiGLU), in the dtype of `x`."""
    with np.errstate(over="ignore"):
        out: Array = x / (1 + np.exp(-x))
    return out


# GPT2Config's names, of which the reader decided on one; the last three of the tanh form agree to
# 1e-5 (formats.md of the project).
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu_erf,
    "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": relu,
}


def attend(query: Array, key: Array, value: Array, window: int | None = None) -> Array:
    """Causal softmax attention of query [B, heads, S, size] over key and value
    [B, groups, S, size], a whole number of heads a group, in order -> [B, S, heads size].

    A token sees itself and, of those before it, `window` - 1. One head at a time, so that its
    scores [S, S] stay in the cache.
    """
    batch, heads, length, width = query.shape
    shared = heads // key.shape[1]
    unseen = np.triu(np.full((length, length), -np.inf, query.dtype), 1)
    if window is not None:
        unseen += np.tril(np.full((length, length), -np.inf, query.dtype), -window)
    out = np.empty((batch, length, heads, width), query.dtype)
    scaled = query * query.dtype.type(width**-0.5)
    for b, head in np.ndindex(batch, heads):
        scores = scaled[b, head] @ key[b, head // shared].T
        scores += unseen
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        out[b, :, head] = scores @ value[b, head // shared]
    return out.reshape(batch, length, heads * width)


def rotate(heads: Array, base: float, scaling: Mapping[str, Any] | None) -> Array:
    """Rotary positions (Su et al. 2021) of `heads` [..., S, size]: dimension i turns with
    dimension i + size / 2, by the position times a frequency that falls with i."""
    length, size = heads.shape[-2:]
    frequencies = base ** (-np.arange(0, size, 2) / size)
    angles = np.outer(np.arange(length), _scaled(frequencies, scaling or {}))
    cos, sin = np.cos(angles).astype(heads.dtype), np.sin(angles).astype(heads.dtype)
    first, second = np.split(heads, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def _scaled(frequencies: Array, scaling: Mapping[str, Any]) -> Array:
    """Frequencies divided by the factor: all of them ("linear"), or as Llama 3.1 does those whose
    waves are long against the context it was first trained on, with a ramp between (the Llama 3
    herd of models, 2024; Meta's reference code, apply_scaling)."""
    if scaling.get("rope_type") != "llama3":
        return frequencies / np.float64(scaling.get("factor", 1.0))
    turns = scaling["original_max_position_embeddings"] * frequencies / (2 * np.pi)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    kept = np.clip((turns - low) / (high - low), 0, 1)
    scaled: Array = frequencies * (kept + (1 - kept) / scaling["factor"])
    return scaled
