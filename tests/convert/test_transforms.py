"""Every transform against a slow and plain one, and back again, for every row order and split."""

from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaport.checkpoint.model import QKV_ORDERS
from megaport.convert.transforms import chunks, copy, pieces
from megaport.gpt2 import GPT2
from megaport.sizes import Sizes
from megaport.table import Row, Transform
from megaport.tensors import Array

# How to see a rank's QKV rows as [3, heads, head size]: their stored shape, and the axes to take.
STORED = {
    "3,np,hn": lambda heads, size: ((3, heads, size), (0, 1, 2)),
    "np,hn,3": lambda heads, size: ((heads, size, 3), (2, 0, 1)),
    "np,3,hn": lambda heads, size: ((heads, 3, size), (1, 0, 2)),
}
ROWS = {row.megatron.removeprefix("layers.0."): row for row in GPT2.rows(1, tied=True)}


@st.composite
def splits(draw: st.DrawFn) -> tuple[Sizes, int]:
    ranks = draw(st.sampled_from([1, 2, 4]))
    heads = ranks * draw(st.integers(1, 3))
    hidden = heads * draw(st.integers(1, 5))
    padded = ranks * draw(st.integers(1, 9))
    sizes = Sizes(
        padded_vocab_size=padded,
        vocab_size=draw(st.integers(1, padded)),
        n_positions=draw(st.integers(1, 5)),
        n_embd=hidden,
        n_inner=ranks * draw(st.integers(1, 9)),
        n_head=heads,
    )
    return sizes, ranks


def shards_of(row: Row, sizes: Sizes, ranks: int) -> list[Array]:
    """Shards whose elements are all different."""
    ranks = ranks if row.axis is not None else 1
    shape = row.shard_shape(sizes, ranks)
    count = int(np.prod(shape))
    numbers = np.arange(ranks * count, dtype=np.float64).reshape(ranks, *shape)
    return list(numbers)


def converted(row: Row, shards: list[Array], sizes: Sizes, order: str) -> Array:
    moved = chunks(pieces(row, shards, sizes, order))
    return np.concatenate([chunk.ravel() for chunk in moved]).reshape(sizes.shape(row.target_shape))


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


def plain(row: Row, shards: list[Array], sizes: Sizes, order: str) -> Array:
    if row.transform in (Transform.HEADS, Transform.HEADS_TRANSPOSE):
        whole = expected_qkv(dict(enumerate(shards)), sizes.n_head, order)
    else:
        whole = np.concatenate(shards, axis=row.axis or 0)
    if row.transform is Transform.CUT:
        return whole[: sizes.vocab_size]
    conv1d = row.transform in (Transform.TRANSPOSE, Transform.HEADS_TRANSPOSE)
    return whole.T if conv1d else whole


@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=25, deadline=None)
@given(split=splits(), order=st.sampled_from(QKV_ORDERS))
def test_conversion_is_the_plain_one(name: str, split: tuple[Sizes, int], order: str) -> None:
    sizes, ranks = split
    shards = shards_of(ROWS[name], sizes, ranks)
    seen = converted(ROWS[name], shards, sizes, order)
    np.testing.assert_array_equal(seen, plain(ROWS[name], shards, sizes, order))


@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=25, deadline=None)
@given(split=splits(), order=st.sampled_from(QKV_ORDERS))
def test_read_from_right_to_left_it_is_the_inverse(
    name: str, split: tuple[Sizes, int], order: str
) -> None:
    sizes, ranks = split
    row = ROWS[name]
    shards = shards_of(row, sizes, ranks)
    target = converted(row, shards, sizes, order)
    back = [np.full_like(shard, -1) for shard in shards]
    found = pieces(row, back, sizes, order)
    shaped = target.reshape((found.rows, *found.inner))
    for piece in found.pieces:
        piece.view[...] = shaped[(slice(piece.start, piece.stop), *piece.columns)]
    kept = _kept_rows(row, sizes, len(shards))
    for rank, (seen, shard) in enumerate(zip(back, shards, strict=True)):
        np.testing.assert_array_equal(seen[: kept[rank]], shard[: kept[rank]])
        assert (seen[kept[rank] :] == -1).all(), "a padding row was written"


def _kept_rows(row: Row, sizes: Sizes, ranks: int) -> list[int]:
    if row.transform is not Transform.CUT:
        return [row.shard_shape(sizes, ranks)[0]] * ranks
    each = sizes.padded_vocab_size // ranks
    return [min(each, max(0, sizes.vocab_size - rank * each)) for rank in range(ranks)]


def _layouts() -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    yield (130, 70), (1, 0)
    yield (70, 600), (1, 0)
    yield (65, 3, 5, 7), (1, 2, 3, 0)
    yield (100, 3, 20, 33), (2, 1, 3, 0)
    yield (64, 1), (1, 0)
    yield (5, 6), (0, 1)
    yield (7,), (0,)


@pytest.mark.parametrize(("shape", "memory"), _layouts())
@pytest.mark.parametrize("dtype", ["u1", "<u2", "<f4", "<f8"])
def test_a_blocked_copy_is_a_copy(
    shape: tuple[int, ...], memory: tuple[int, ...], dtype: str
) -> None:
    count = int(np.prod(shape))
    stored = np.arange(count).astype(dtype).reshape([shape[axis] for axis in memory])
    source = stored.transpose(np.argsort(memory))
    destination = np.zeros(shape, dtype)
    copy(destination, source)
    np.testing.assert_array_equal(destination, source)


def test_a_large_tensor_is_made_in_chunks_that_no_boundary_spoils() -> None:
    sizes = Sizes(
        padded_vocab_size=4, vocab_size=3, n_positions=2, n_embd=768, n_inner=1536, n_head=12
    )
    for name in ("attention.query_key_value.weight", "mlp.dense_4h_to_h.weight"):
        for ranks in (1, 4):
            shards = shards_of(ROWS[name], sizes, ranks)
            seen = converted(ROWS[name], shards, sizes, "np,3,hn")
            np.testing.assert_array_equal(seen, plain(ROWS[name], shards, sizes, "np,3,hn"))
