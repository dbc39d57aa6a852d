"""Checkpoints to convert, and what conversion must make of them, written the slow and plain way."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from megaport.checkpoint.model import Checkpoint
from megaport.convert.convert import convert_checkpoint
from megaport.table import Architecture
from megaport.tensors import Array, Tensor
from support.parity_models import Size, random_gpt2

ORDERS = ("3,np,hn", "np,hn,3", "np,3,hn")
SMALL = Size(layers=2, heads=4, hidden=16, positions=8, vocab=101, padded=128)
# How to see a rank's QKV rows as [3, heads, head size]: their stored shape, and the axes to take.
STORED = {
    "3,np,hn": lambda heads, size: ((3, heads, size), (0, 1, 2)),
    "np,hn,3": lambda heads, size: ((heads, size, 3), (2, 0, 1)),
    "np,3,hn": lambda heads, size: ((heads, 3, size), (1, 0, 2)),
}


def small(**changed: object) -> tuple[Checkpoint, Architecture]:
    """A random GPT-2 of two layers; keywords as `random_gpt2`'s."""
    subject = random_gpt2(**{"size": SMALL, "dtype": "F16", **changed})  # type: ignore[arg-type]
    return subject.checkpoint, subject.architecture


def convert(
    checkpoint: Checkpoint,
    architecture: Architecture,
    out: Path,
    *,
    dtype: str | None = None,
    max_shard_size: int | None = None,
) -> dict[str, str]:
    """Convert; the SHA-256 of each file by name."""
    found = convert_checkpoint(
        checkpoint, architecture, out, dtype=dtype, max_shard_size=max_shard_size
    )
    return dict(found.digests)


def with_tensors(checkpoint: Checkpoint, **changed: tuple[Tensor, ...] | None) -> Checkpoint:
    """`checkpoint` with tensors put (or, where None, taken) at canonical names, dots as `__`."""
    tensors: dict[str, tuple[Tensor, ...]] = dict(checkpoint.tensors)
    for key, shards in changed.items():
        name = key.replace("__", ".")
        tensors.pop(name, None)
        if shards is not None:
            tensors[name] = shards
    return replace(checkpoint, tensors=tensors)


def expected_qkv(shards: Mapping[int, Array], heads: int, order: str) -> Array:
    """GPT-2's c_attn rows (before the transpose to Conv1D) of the ranks' rows, one by one."""
    whole = []
    for rank in sorted(shards):
        own = heads // len(shards)
        size = shards[rank].shape[0] // 3 // own
        shape, axes = STORED[order](own, size)
        rows = np.arange(3 * own * size).reshape(shape).transpose(axes)
        whole.append(np.array([[shards[rank][row] for row in part.ravel()] for part in rows]))
    return np.concatenate(whole, axis=1).reshape(-1, *shards[0].shape[1:])
