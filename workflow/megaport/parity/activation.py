"""The activations of Megatron's models in NumPy, float32 or float64."""

import math
from collections.abc import Callable

import numpy as np

from megaport.tensors import Array

# erf is within 1e-17 of 1 beyond the last node, so the clamp costs nothing in either precision.
NODES_PER_UNIT, EDGE = 256, 6
_X = np.arange(EDGE * NODES_PER_UNIT + 1) / NODES_PER_UNIT
_ERF = np.array([math.erf(value) for value in _X])
_SLOPE = 2.0 / math.sqrt(math.pi) * np.exp(-_X * _X)


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
