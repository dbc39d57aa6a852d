"""One tensor from the chunks that distributed formats cut it into, on scratch where it must be."""

import mmap
import os
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np

from megaport.checkpoint.model import Shards
from megaport.checkpoint.spool import SpoolError, write_all
from megaport.errors import MegaportError
from megaport.sizes import cut
from megaport.tensors import STORAGE, Tensor, total_bytes

_MOST_LAYERS = 10_000  # the deepest GPT-2 that Megatron's papers train has 105


class ChunksError(MegaportError):
    """Chunks that leave a part of a tensor out, hold one twice, or are not as described."""


@dataclass(frozen=True)
class Chunk:
    """A chunk with its first element at `offsets` of the tensor it belongs to."""

    offsets: tuple[int, ...]
    tensor: Tensor


@dataclass(frozen=True)
class Whole:
    """A tensor of `shape`, in chunks that cover it exactly once (checked by `check_cover`)."""

    name: str
    shape: tuple[int, ...]
    chunks: Sequence[Chunk]


class Arena:
    """At most `capacity` bytes in an unlinked file under `spool`, which appears on first use."""

    ALIGNED = 64

    def __init__(self, spool: Path, capacity: int) -> None:
        self.spool = spool
        self.capacity = capacity
        self._used = 0

    def keep(self, tensor: Tensor) -> Tensor:
        """The same values as a view over the scratch file, so that memory holds none of them.

        `SpoolError` where the disk is full or `spool` is not writable.
        """
        data = np.ascontiguousarray(tensor.array)
        start = -(-self._used // self.ALIGNED) * self.ALIGNED
        try:
            descriptor, view = self._file
            write_all(descriptor, bytes(start - self._used))
            write_all(descriptor, data.reshape(-1).view(np.uint8).data)
        except OSError as error:
            raise SpoolError(
                str(self.spool),
                seen=error.strerror or type(error).__name__,
                expected=f"room for up to {self.capacity} bytes of scratch",
                remedy="Free space, or point `store` at a larger disk, and run again.",
            ) from error
        self._used = start + data.nbytes
        flat = np.frombuffer(view, STORAGE[tensor.dtype], data.size, start)
        return Tensor(tensor.dtype, flat.reshape(data.shape))

    @cached_property
    def _file(self) -> tuple[int, memoryview]:
        """Where to write, and the same bytes to read."""
        self.spool.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.spool) as file:
            file.truncate(self.capacity)
            descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, descriptor)
        # The mapping is only read: a full disk must be an error of write, not a signal.
        return descriptor, memoryview(mmap.mmap(descriptor, self.capacity, access=mmap.ACCESS_READ))


def check_cover(whole: Whole) -> Whole:
    """The same, or `ChunksError`: chunks lie within the shape, do not overlap, leave no gap."""
    size = len(whole.shape)
    if 0 in whole.shape:
        raise _bad(whole, "a tensor without values")
    for chunk in whole.chunks:
        ends = _ends(chunk)
        outside = len(chunk.offsets) != size or len(chunk.tensor.shape) != size
        if outside or any(e > s for e, s in zip(ends, whole.shape, strict=True)):
            raise _bad(whole, f"a chunk {list(chunk.tensor.shape)} at {list(chunk.offsets)}")
    covered = sum(prod(chunk.tensor.shape) for chunk in whole.chunks)
    if covered < prod(whole.shape):
        raise _bad(whole, f"chunks of only {covered} of {prod(whole.shape)} values")
    if covered > prod(whole.shape) or not _is_grid(whole):
        raise _bad(whole, "chunks that overlap or are no grid")
    return whole


def _ends(chunk: Chunk) -> tuple[int, ...]:
    return tuple(o + n for o, n in zip(chunk.offsets, chunk.tensor.shape, strict=False))


def _is_grid(whole: Whole) -> bool:
    """Whether every chunk is one cell of a grid, each cell once: all writers cut along axes.

    Sorting only, so that a .metadata that claims very many chunks stays cheap.
    """
    if len({chunk.offsets for chunk in whole.chunks}) < len(whole.chunks):
        return False
    for axis, size in enumerate(whole.shape):
        starts = sorted({chunk.offsets[axis] for chunk in whole.chunks})
        ends = dict(zip(starts, [*starts[1:], size], strict=True))
        if any(_ends(chunk)[axis] != ends[chunk.offsets[axis]] for chunk in whole.chunks):
            return False
    return True


def _bad(whole: Whole, seen: str) -> ChunksError:
    return ChunksError(
        whole.name,
        seen=seen,
        expected=f"chunks that cover {list(whole.shape)} once",
        remedy="The checkpoint is incomplete or damaged: get all of its files again.",
    )


def unstack(whole: Whole) -> list[Whole]:
    """The layers of a tensor that stacks them on axis 0, as views; `ChunksError` beyond reason."""
    if not whole.shape or whole.shape[0] > _MOST_LAYERS:
        raise _bad(whole, f"a stack of layers of shape {list(whole.shape)}")
    layers: list[list[Chunk]] = [[] for _ in range(whole.shape[0])]
    for chunk in whole.chunks:
        for index in range(chunk.tensor.shape[0]):
            view = Tensor(chunk.tensor.dtype, chunk.tensor.array[index])
            layers[chunk.offsets[0] + index].append(Chunk(chunk.offsets[1:], view))
    return [
        Whole(f"{whole.name}[{number}]", whole.shape[1:], chunks)
        for number, chunks in enumerate(layers)
    ]


def split_rows(whole: Whole, parts: int) -> list[Whole]:
    """The tensor cut on axis 0 into equal parts, as views; [whole] where they do not fit."""
    rows, rest = divmod((whole.shape or (0,))[0], parts)
    if parts == 1 or rest:
        return [whole]
    held: list[list[Chunk]] = [[] for _ in range(parts)]
    for chunk in whole.chunks:
        top, array = chunk.offsets[0], chunk.tensor.array
        for part in range(top // rows, (top + len(array) - 1) // rows + 1):
            first, last = max(top, part * rows), min(top + len(array), (part + 1) * rows)
            view = Tensor(chunk.tensor.dtype, array[first - top : last - top])
            held[part].append(Chunk((first - part * rows, *chunk.offsets[1:]), view))
    shape = (rows, *whole.shape[1:])
    return [Whole(whole.name, shape, chunks) for chunks in held]


def shards_of(whole: Whole, axis: int | None, tensor_parallel: int, arena: Arena) -> Shards:
    """The chunks as shards where `tensor_parallel` ranks cut them along `axis`, else one tensor.

    Shards are views. A tensor cut in another way (FSDP cuts every tensor on axis 0, evenly or
    not) is put together in the arena.
    """
    chunks = sorted(whole.chunks, key=lambda chunk: chunk.offsets)
    tensors = tuple(chunk.tensor for chunk in chunks)
    if len(chunks) == 1 or len({tensor.dtype for tensor in tensors}) > 1:
        return tensors
    if axis is not None and axis < len(whole.shape) and len(chunks) == tensor_parallel:
        expected = cut(whole.shape, axis, tensor_parallel)
        if all(tensor.shape == expected for tensor in tensors):
            return tensors
    return (arena.keep(_assembled(whole)),)


def _assembled(whole: Whole) -> Tensor:
    first = whole.chunks[0].tensor
    array = np.empty(whole.shape, first.array.dtype)
    for chunk in whole.chunks:
        array[tuple(map(slice, chunk.offsets, _ends(chunk)))] = chunk.tensor.array
    return Tensor(first.dtype, array)


def room_for(wholes: Iterable[Whole]) -> int:
    """Bytes that an arena needs to hold all of these, each chunk of each layer aligned."""
    chunks = [chunk.tensor for whole in wholes for chunk in whole.chunks]
    rows = sum(chunk.shape[0] if chunk.shape else 1 for chunk in chunks)
    return total_bytes(chunks) + Arena.ALIGNED * (rows + 1)
