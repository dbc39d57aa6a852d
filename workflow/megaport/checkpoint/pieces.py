"""One tensor from the chunks that distributed formats cut it into."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from megaport.checkpoint import canonical
from megaport.checkpoint.arena import Arena
from megaport.checkpoint.parts import Shards
from megaport.errors import MegaportError
from megaport.tensors import Tensor, total_bytes


class PiecesError(MegaportError):
    """Chunks that leave a part of a tensor out, hold one twice, or are not as described."""


@dataclass(frozen=True)
class Piece:
    """A chunk with its first element at `offsets` of the tensor it belongs to."""

    offsets: tuple[int, ...]
    tensor: Tensor


@dataclass(frozen=True)
class Whole:
    """A tensor of `shape`, in pieces that cover it exactly once (checked by `check_cover`)."""

    name: str
    shape: tuple[int, ...]
    pieces: Sequence[Piece]


def check_cover(whole: Whole) -> Whole:
    """The same, or `PiecesError`: pieces lie within the shape, do not overlap, leave no gap."""
    size = len(whole.shape)
    if 0 in whole.shape:
        raise _bad(whole, "a tensor without values")
    for piece in whole.pieces:
        ends = _ends(piece)
        outside = len(piece.offsets) != size or len(piece.tensor.shape) != size
        if outside or any(e > s for e, s in zip(ends, whole.shape, strict=True)):
            raise _bad(whole, f"a chunk {list(piece.tensor.shape)} at {list(piece.offsets)}")
    covered = sum(prod(piece.tensor.shape) for piece in whole.pieces)
    if covered < prod(whole.shape):
        raise _bad(whole, f"chunks of only {covered} of {prod(whole.shape)} values")
    if covered > prod(whole.shape) or not _is_grid(whole):
        raise _bad(whole, "chunks that overlap or are no grid")
    return whole


def _ends(piece: Piece) -> tuple[int, ...]:
    return tuple(o + n for o, n in zip(piece.offsets, piece.tensor.shape, strict=False))


def _is_grid(whole: Whole) -> bool:
    """Whether every piece is one cell of a grid, each cell once: all writers cut along axes.

    Sorting only, so that a .metadata that claims very many chunks stays cheap.
    """
    if len({piece.offsets for piece in whole.pieces}) < len(whole.pieces):
        return False
    for axis, size in enumerate(whole.shape):
        starts = sorted({piece.offsets[axis] for piece in whole.pieces})
        ends = dict(zip(starts, [*starts[1:], size], strict=True))
        if any(_ends(piece)[axis] != ends[piece.offsets[axis]] for piece in whole.pieces):
            return False
    return True


def _bad(whole: Whole, seen: str) -> PiecesError:
    return PiecesError(
        whole.name,
        seen=seen,
        expected=f"chunks that cover {list(whole.shape)} once",
        remedy="The checkpoint is incomplete or damaged: get all of its files again.",
    )


def unstack(whole: Whole) -> list[Whole]:
    """The layers of a tensor that stacks them on axis 0, as views."""
    layers: list[list[Piece]] = [[] for _ in range(whole.shape[0])]
    for piece in whole.pieces:
        for index in range(piece.tensor.shape[0]):
            view = Tensor(piece.tensor.dtype, piece.tensor.array[index])
            layers[piece.offsets[0] + index].append(Piece(piece.offsets[1:], view))
    return [
        Whole(f"{whole.name}[{number}]", whole.shape[1:], pieces)
        for number, pieces in enumerate(layers)
    ]


def shards_of(whole: Whole, name: str, tensor_parallel: int, arena: Arena) -> Shards:
    """The pieces as shards where they are those of `tensor_parallel` ranks, else one tensor.

    Shards are views. A tensor cut in another way (FSDP cuts every tensor on axis 0, evenly or
    not) is put together in the arena.
    """
    pieces = sorted(whole.pieces, key=lambda piece: piece.offsets)
    tensors = tuple(piece.tensor for piece in pieces)
    if len(pieces) == 1 or len({tensor.dtype for tensor in tensors}) > 1:
        return tensors
    axis = canonical.shard_axis(name)
    if axis is not None and axis < len(whole.shape) and len(pieces) == tensor_parallel:
        cut = whole.shape[axis] // tensor_parallel
        expected = tuple(cut if a == axis else n for a, n in enumerate(whole.shape))
        if all(tensor.shape == expected for tensor in tensors):
            return tensors
    return (arena.keep(_assembled(whole)),)


def _assembled(whole: Whole) -> Tensor:
    first = whole.pieces[0].tensor
    array = np.empty(whole.shape, first.array.dtype)
    for piece in whole.pieces:
        where = tuple(
            slice(o, o + n) for o, n in zip(piece.offsets, piece.tensor.shape, strict=True)
        )
        array[where] = piece.tensor.array
    return Tensor(first.dtype, array)


def room_for(wholes: Iterable[Whole]) -> int:
    """Bytes that an arena needs to hold all of these, each piece of each layer aligned."""
    pieces = [piece.tensor for whole in wholes for piece in whole.pieces]
    rows = sum(piece.shape[0] if piece.shape else 1 for piece in pieces)
    return total_bytes(pieces) + Arena.ALIGNED * (rows + 1)
