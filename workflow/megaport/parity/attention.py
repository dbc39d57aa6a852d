"""Causal self-attention of the reference, and how each era interleaves query, key and value."""

from typing import Any

import numpy as np

from megaport.tensors import Array


def split_heads(mixed: Array, order: str, heads: int) -> tuple[Array, Array, Array]:
    """A rank's `mixed` [B, S, 3 np hn] -> query, key, value, each [B, np, S, hn]."""
    batch, length, size = mixed.shape
    sizes: dict[str, Any] = {"3": 3, "np": heads, "hn": size // 3 // heads}
    axes = order.split(",")
    split = mixed.reshape(batch, length, *(sizes[axis] for axis in axes))
    which = 2 + axes.index("3")
    query, key, value = (np.take(split, i, axis=which).swapaxes(1, 2) for i in range(3))
    return query, key, value


def attend(query: Array, key: Array, value: Array) -> Array:
    """Causal softmax attention; [B, np, S, hn] each -> [B, S, np hn].

    One head at a time, so that its scores [S, S] stay in the cache.
    """
    batch, heads, length, width = query.shape
    future = np.triu(np.full((length, length), -np.inf, query.dtype), 1)
    out = np.empty((batch, length, heads, width), query.dtype)
    scaled = query * query.dtype.type(width**-0.5)
    for b, head in np.ndindex(batch, heads):
        scores = scaled[b, head] @ key[b, head].T
        scores += future
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        out[b, :, head] = scores @ value[b, head]
    return out.reshape(batch, length, heads * width)
