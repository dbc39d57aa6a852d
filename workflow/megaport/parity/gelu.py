"""The activations of Megatron's GPT-2 in NumPy, float32 or float64."""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from megaport.errors import MegaportError
from megaport.tensors import Array

# erf is within 1e-17 of 1 beyond here, so the clamp costs nothing in either precision.
EDGE = 6.0
NODES_PER_UNIT = 256
# Elements worked on at once: the temporaries then stay in a core's cache.
BLOCK = 1 << 15


class ActivationUnknownError(MegaportError):
    """The architecture names an activation that no Megatron GPT-2 was trained with."""


@lru_cache(maxsize=1)
def _nodes() -> tuple[Array, Array]:
    """erf and its derivative at the nodes 0, 1/256, ..., 6, float64."""
    x = np.arange(round(EDGE * NODES_PER_UNIT) + 1) / NODES_PER_UNIT
    values = np.array([math.erf(v) for v in x])
    return values, 2.0 / math.sqrt(math.pi) * np.exp(-x * x)


def _erf_block(x: Array) -> Array:
    values, slopes = _nodes()
    size = np.minimum(np.abs(x), EDGE)
    node = np.rint(size * NODES_PER_UNIT).astype(np.intp)
    at = node / NODES_PER_UNIT
    d = size - at
    # Taylor about the nearest node: erf'' = -2x erf', erf''' = (4x^2 - 2) erf'.
    series = 1.0 + d * (-at + d * (2.0 * at * at - 1.0) / 3.0)
    found: Array = np.copysign(values[node] + slopes[node] * d * series, x)
    return found


def erf(x: Array) -> Array:
    """The error function of float32 or float64 `x`, same shape and dtype.

    Computed in float64 by a third order Taylor series about nodes 1/256 apart: the remainder is at
    most max|erf''''| / 24 * (1/512)^4 < 4e-12.
    """
    flat = np.ascontiguousarray(x).reshape(-1)
    out = np.empty_like(flat)
    for start in range(0, flat.size, BLOCK):
        part = slice(start, start + BLOCK)
        out[part] = _erf_block(flat[part].astype(np.float64))
    return out.reshape(x.shape)


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


# GPT2Config's names; the last three of the tanh form agree to 1e-5 (formats.md of the project).
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu_erf,
    "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": relu,
}


def activation(name: str) -> Callable[[Array], Array]:
    """The function GPT2Config calls `name`; ActivationUnknownError if there is none."""
    if name not in ACTIVATIONS:
        raise ActivationUnknownError(
            "architecture.activation_function",
            seen=name,
            expected=f"one of {', '.join(sorted(ACTIVATIONS))}",
            remedy="Set architecture.activation_function in config.yaml.",
        )
    return ACTIVATIONS[name]
