"""One GPT-2 tensor from its Megatron shards, a chunk of rows at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from megaport.checkpoint.finite import non_finite
from megaport.convert.blocks import ROWS, move
from megaport.convert.dtype import TORCH_NAME, add_one, cast
from megaport.convert.table import Row, Sizes
from megaport.convert.transforms import Piece, Pieces, pieces
from megaport.tensors import STORAGE, Array, Tensor

# Long enough that a chunk's overhead vanishes, short enough that it stays in the cache from being
# made to being hashed and written.
CHUNK_BYTES = 2 << 20


@dataclass
class Stream:
    """Makes the chunks of one tensor after another; counts what is not finite on the way."""

    sizes: Sizes
    qkv_order: str
    layernorm_1p: bool
    problems: list[str] = field(default_factory=list)

    def chunks(self, row: Row, shards: Sequence[Tensor], dtype: str) -> Iterator[Array]:
        """C-contiguous chunks that together are `row`'s GPT-2 tensor in `dtype`.

        NaN and Inf in the source, and overflow of finite values in `dtype`, are counted into
        `problems`; the stream goes on, so that every such tensor is named.
        """
        one = self.layernorm_1p and row.is_norm_scale
        broken = overflown = 0
        for moved, source in self._moved(row, shards):
            bad = non_finite(Tensor(source, moved))
            chunk = add_one(moved, source, dtype) if one else cast(moved, source, dtype)
            if chunk is not moved and not bad:
                overflown += non_finite(Tensor(dtype, chunk))
            broken += bad
            yield chunk
        if broken:
            self.problems.append(f"{row.megatron}: {broken} values are NaN or Inf")
        if overflown:
            self.problems.append(f"{row.megatron}: {overflown} values overflow {TORCH_NAME[dtype]}")

    def _moved(self, row: Row, shards: Sequence[Tensor]) -> Iterator[tuple[Array, str]]:
        """Chunks in the source's dtype; where GPT-2's bytes are the source's, views of it."""
        source = shards[0].dtype
        found = pieces(row, [shard.array for shard in shards], self.sizes, self.qkv_order)
        width = prod(found.inner) * STORAGE[source].itemsize
        step = max(ROWS, CHUNK_BYTES // max(1, width) // ROWS * ROWS)
        for start in range(0, found.rows, step):
            yield _rows(found, start, min(start + step, found.rows)), source


def _rows(found: Pieces, start: int, stop: int) -> Array:
    parts = [piece for piece in found.pieces if piece.start < stop and start < piece.stop]
    if len(parts) == 1 and not parts[0].columns:
        only = _within(parts[0], start, stop)
        if len(only) == stop - start and only.flags.c_contiguous:
            return only
    chunk = np.empty((stop - start, *found.inner), parts[0].view.dtype)
    for piece in parts:
        low, high = max(start, piece.start), min(stop, piece.stop)
        move(chunk[(slice(low - start, high - start), *piece.columns)], _within(piece, low, high))
    return chunk


def _within(piece: Piece, start: int, stop: int) -> Array:
    """The rows of `piece` that are GPT-2's rows `start` to `stop`."""
    return piece.view[max(0, start - piece.start) : stop - piece.start]
