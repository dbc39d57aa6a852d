"""A Megatron tensor's shards and its target: element by element, as views, and moved in chunks.

`pieces` pairs each rank's shard with the region of the target that holds the same elements.
Copying shard to region converts, region to shard exports: one law, so the inverse cannot drift.
Nothing here looks at an element, so any dtype moves, BF16 carried as uint16 included.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from megaport.sizes import Sizes
from megaport.table import Row, Transform
from megaport.tensors import Array

# Long enough that a chunk's overhead vanishes, short enough that it stays in the cache from being
# made to being hashed and written.
CHUNK_BYTES = 2 << 20
# A block of 64 rows by 256 columns of 2 bytes is 32 KiB and stays in the first-level cache while it
# is turned; read straight from the source, the power-of-two strides of a weight evict each other.
ROWS, COLUMNS = 64, 256


@dataclass(frozen=True)
class Piece:
    """One shard, seen in the target's order.

    `view`, a view of the shard, has axis 0 running over the target's rows `start`, `start`+1, ...;
    its other axes fill `columns` of those rows once they are reshaped to `Pieces.inner`.
    """

    view: Array
    start: int
    columns: tuple[slice, ...]

    @property
    def stop(self) -> int:
        return self.start + int(self.view.shape[0])


@dataclass(frozen=True)
class Pieces:
    """All shards of one tensor: the target has `rows` rows of shape `inner`."""

    rows: int
    inner: tuple[int, ...]
    pieces: tuple[Piece, ...]


def pieces(row: Row, shards: Sequence[Array], sizes: Sizes, qkv_order: str) -> Pieces:
    """Pair shards (TP-rank order, shapes as `Row.shard_shape`) with the target of `row`."""
    match row.transform:
        case Transform.HEADS | Transform.HEADS_TRANSPOSE:
            turned = row.transform is Transform.HEADS_TRANSPOSE
            return _heads(shards, sizes, qkv_order, turned=turned)
        case Transform.TRANSPOSE:
            flipped = [shard.T for shard in shards]
            return _side_by_side(flipped) if row.axis != 1 else _concatenated(flipped)
        case Transform.CUT:
            return _concatenated(shards, limit=sizes.vocab_size)
        case Transform.COPY:
            return _side_by_side(shards) if row.axis == 1 else _concatenated(shards)
        case Transform.GATE | Transform.UP:
            first = 0 if row.transform is Transform.GATE else 1
            return _concatenated(shards[first::2])
        case Transform.QUERY | Transform.KEY | Transform.VALUE:
            return _concatenated(list(_of_groups(row, shards, sizes)))


def _concatenated(shards: Sequence[Array], *, limit: int | None = None) -> Pieces:
    if limit is None:
        limit = sum(int(shard.shape[0]) for shard in shards)
    found, start = [], 0
    for shard in shards:
        kept = shard[: max(0, limit - start)]
        found.append(Piece(kept, start, ()))
        start += int(shard.shape[0])
    return Pieces(limit, tuple(shards[0].shape[1:]), tuple(found))


def _of_groups(row: Row, shards: Sequence[Array], sizes: Sizes) -> Iterator[Array]:
    """Each group's queries, key or value: of its heads / groups + 2 heads the first, second last
    or last."""
    queries = sizes.n_head // sizes.groups
    first, last = {
        Transform.QUERY: (0, queries),
        Transform.KEY: (queries, queries + 1),
        Transform.VALUE: (queries + 1, queries + 2),
    }[row.transform]
    for shard in shards:
        heads = shard.reshape(-1, queries + 2, sizes.width, *shard.shape[1:])
        yield from (group.reshape(-1, *shard.shape[1:]) for group in heads[:, first:last])


def _side_by_side(shards: Sequence[Array]) -> Pieces:
    """Shards that follow one another in the target's columns."""
    found, start = [], 0
    for shard in shards:
        width = int(shard.shape[1])
        found.append(Piece(shard, 0, (slice(start, start + width),)))
        start += width
    return Pieces(int(shards[0].shape[0]), (start,), tuple(found))


def _by_head(shard: Array, heads: int, width: int, qkv_order: str) -> Array:
    """A rank's QKV rows as a view [3, heads of the rank, head size, ...]."""
    lengths, stored = {"3": 3, "np": heads, "hn": width}, qkv_order.split(",")
    split = shard.reshape((*(lengths[axis] for axis in stored), *shard.shape[1:]))
    return split.transpose((*map(stored.index, lengths), *range(3, split.ndim)))


def _heads(shards: Sequence[Array], sizes: Sizes, qkv_order: str, *, turned: bool) -> Pieces:
    """[3, heads, head size] over all ranks; `turned`: of each input, as Conv1D [in, out] has it."""
    held, found = sizes.n_head // len(shards), []
    for rank, shard in enumerate(shards):
        view = _by_head(shard, held, sizes.width, qkv_order)
        heads: tuple[slice, ...] = (slice(rank * held, (rank + 1) * held),)
        if turned:
            view, heads = view.transpose(3, 0, 1, 2), (slice(None), *heads)
        found.append(Piece(view, 0, heads))
    each = (sizes.n_head, sizes.width)
    if turned:
        return Pieces(sizes.n_embd, (3, *each), tuple(found))
    return Pieces(3, each, tuple(found))


def chunks(found: Pieces) -> Iterator[Array]:
    """The tensor in order; views of a shard where its bytes lie as the model's do."""
    width = prod(found.inner) * found.pieces[0].view.itemsize
    step = max(ROWS, CHUNK_BYTES // max(1, width) // ROWS * ROWS)
    for start in range(0, found.rows, step):
        yield _rows(found, start, min(start + step, found.rows))


def _rows(found: Pieces, start: int, stop: int) -> Array:
    parts = [piece for piece in found.pieces if piece.start < stop and start < piece.stop]
    if len(parts) == 1 and not parts[0].columns:
        only = _within(parts[0], start, stop)
        if len(only) == stop - start and only.flags.c_contiguous:
            return only
    chunk = np.empty((stop - start, *found.inner), parts[0].view.dtype)
    for piece in parts:
        low, high = max(start, piece.start), min(stop, piece.stop)
        copy(chunk[(slice(low - start, high - start), *piece.columns)], _within(piece, low, high))
    return chunk


def _within(piece: Piece, start: int, stop: int) -> Array:
    """The rows of `piece` that are the model's rows `start` to `stop`."""
    return piece.view[max(0, start - piece.start) : stop - piece.start]


def copy(destination: Array, source: Array) -> None:
    """destination[...] = source for equal shapes and dtypes; fast where `source` is transposed."""
    if source.ndim < 2 or source.strides[0] != source.itemsize:
        np.copyto(destination, source)
        return
    columns = min(COLUMNS, source.shape[-1])
    rows = ROWS * COLUMNS // columns
    for between in np.ndindex(source.shape[1:-1]):
        for row in range(0, source.shape[0], rows):
            for column in range(0, source.shape[-1], columns):
                at = (slice(row, row + rows), *between, slice(column, column + columns))
                destination[at] = np.ascontiguousarray(source[at].T).T
