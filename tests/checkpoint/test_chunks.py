"""Chunks cover a tensor exactly once, or are refused; any honest cut is put together."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaport.checkpoint.families.chunks import (
    Arena,
    Chunk,
    ChunksError,
    Whole,
    check_cover,
    room_for,
    shards_of,
    unstack,
)
from megaport.tensors import Tensor

NAME = "layers.0.attention.dense.weight"


def cut(array: np.ndarray, rows: list[int], columns: list[int]) -> Whole:
    """The array in the cells between these row and column numbers."""
    chunks = []
    for top, bottom in zip([0, *rows], [*rows, array.shape[0]], strict=True):
        for left, right in zip([0, *columns], [*columns, array.shape[1]], strict=True):
            chunks.append(Chunk((top, left), Tensor("F32", array[top:bottom, left:right])))
    return Whole(NAME, array.shape, chunks)


@st.composite
def grids(draw: st.DrawFn) -> Whole:
    height, width = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    array = np.arange(height * width, dtype="<f4").reshape(height, width)
    rows = sorted(draw(st.sets(st.integers(1, height - 1))))
    columns = sorted(draw(st.sets(st.integers(1, width - 1))))
    whole = cut(array, rows, columns)
    return Whole(NAME, whole.shape, draw(st.permutations(whole.chunks)))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(whole=grids(), ranks=st.integers(1, 4))
def test_any_grid_is_put_together(
    whole: Whole, ranks: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    arena = Arena(tmp_path_factory.getbasetemp() / "spool", room_for([whole]))
    shards = shards_of(check_cover(whole), 1, ranks, arena)
    assert len(shards) in (1, ranks)
    joined = np.concatenate([shard.array for shard in shards], 1)
    expected = np.arange(joined.size, dtype="<f4").reshape(whole.shape)
    np.testing.assert_array_equal(joined, expected)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(whole=grids(), data=st.data())
def test_a_chunk_lost_doubled_or_moved_is_refused(whole: Whole, data: st.DataObject) -> None:
    chunks = list(whole.chunks)
    index = data.draw(st.integers(0, len(chunks) - 1))
    chunk = chunks.pop(index)
    how = data.draw(st.sampled_from(("lost", "doubled", "moved")))
    if how == "doubled":
        chunks += [chunk, chunk]
    elif how == "moved":
        chunks.append(Chunk((chunk.offsets[0], chunk.offsets[1] + 1), chunk.tensor))
    with pytest.raises(ChunksError, match=NAME):
        check_cover(Whole(NAME, whole.shape, chunks))


def test_very_many_chunks_are_checked_quickly() -> None:
    one = Tensor("F32", np.ones((1, 1), "<f4"))
    whole = Whole(NAME, (1, 50_000), [Chunk((0, column), one) for column in range(50_000)])
    started = time.process_time()
    check_cover(whole)
    assert time.process_time() - started < 5


def test_a_stack_is_taken_apart_as_views() -> None:
    array = np.arange(24, dtype="<f4").reshape(3, 2, 4)
    chunks = [
        Chunk((0, 0, 0), Tensor("F32", array[:2])),
        Chunk((2, 0, 0), Tensor("F32", array[2:])),
    ]
    layers = unstack(check_cover(Whole("stack", (3, 2, 4), chunks)))
    assert [layer.shape for layer in layers] == [(2, 4)] * 3
    for number, layer in enumerate(layers):
        (chunk,) = layer.chunks
        np.testing.assert_array_equal(chunk.tensor.array, array[number])
        assert np.shares_memory(chunk.tensor.array, array)


def test_chunks_of_two_dtypes_are_left_for_the_accounting(tmp_path: Path) -> None:
    chunks = [
        Chunk((0, 0), Tensor("F32", np.ones((1, 2), "<f4"))),
        Chunk((1, 0), Tensor("F16", np.ones((1, 2), "<f2"))),
    ]
    shards = shards_of(Whole(NAME, (2, 2), chunks), 1, 1, Arena(tmp_path, 0))
    assert [shard.dtype for shard in shards] == ["F32", "F16"]
