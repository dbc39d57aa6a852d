"""Causal self-attention of the references, how each era interleaves query, key and value, and how
positions are turned into them."""

from collections.abc import Mapping
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
