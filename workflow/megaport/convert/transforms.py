"""The element-wise correspondence of a Megatron tensor's shards and its GPT-2 tensor, as views.

`pieces` pairs each rank's shard with the region of the GPT-2 tensor that holds the same elements.
Copying shard to region converts, region to shard exports: one law, so the inverse cannot drift.
Nothing here looks at an element, so any dtype moves, BF16 carried as uint16 included.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from megaport.sizes import Sizes
from megaport.table import Row, Transform
from megaport.tensors import Array

# The row order of a rank's query_key_value (formats.md), as axes of [3, heads, head size].
QKV_ORDERS: dict[str, tuple[int, int, int]] = {
    "3,np,hn": (0, 1, 2),
    "np,hn,3": (2, 0, 1),
    "np,3,hn": (1, 0, 2),
}


@dataclass(frozen=True)
class Piece:
    """One shard, seen in GPT-2's order.

    `view`, a view of the shard, has axis 0 running over GPT-2 rows `start`, `start`+1, ...;
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
    """All shards of one tensor: GPT-2 rows have shape `inner`, `rows` of them."""

    rows: int
    inner: tuple[int, ...]
    pieces: tuple[Piece, ...]


def pieces(row: Row, shards: Sequence[Array], sizes: Sizes, qkv_order: str) -> Pieces:
    """Pair shards (TP-rank order, shapes as `Row.shard_shape`) with GPT-2's tensor of `row`."""
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
    lengths = (3, heads, width)
    axes = QKV_ORDERS[qkv_order]
    stored = (lengths[axes.index(position)] for position in range(3))
    split = shard.reshape((*stored, *shard.shape[1:]))
    return split.transpose((*axes, *range(3, split.ndim)))


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
