"""The reference: its arithmetic, and that it reads ranks and dtypes as they are stored."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from megaport.parity.arithmetic import add_one, cast, erf, gelu_erf, gelu_tanh
from megaport.parity.reference import Reference, TokenIdError
from megaport.tensors import Tensor
from support.subjects import random_gpt2

IDS = np.array([[3, 1, 4, 1, 5, 9, 2, 6], [100, 0, 50, 99, 7, 7, 8, 31]])


def test_erf_is_within_the_stated_error_of_the_c_library() -> None:
    x = np.linspace(-8, 8, 100_001)
    exact = np.array([math.erf(value) for value in x])
    assert np.abs(erf(x) - exact).max() < 4e-12
    assert np.abs(erf(x.astype(np.float32)) - exact).max() < 1e-6


def test_gelus_differ_by_what_is_known_and_keep_the_dtype() -> None:
    x = np.linspace(-6, 6, 10_001).astype(np.float32)
    assert 4e-4 < np.abs(gelu_erf(x) - gelu_tanh(x)).max() < 5e-4
    assert gelu_erf(x).dtype == gelu_tanh(x).dtype == np.float32


def joined(subject: Reference) -> Reference:
    """The same model on one rank: heads are split over ranks in order, so rows just join up."""
    one = {}
    for name, shards in subject.checkpoint.tensors.items():
        arrays = [shard.array for shard in shards]
        axis = int(name.endswith(("attention.dense.weight", "dense_4h_to_h.weight")))
        if "query_key_value" in name and subject.checkpoint.qkv_order == "3,np,hn":
            parts = [np.split(array, 3) for array in arrays]
            arrays = [rank[part] for part in range(3) for rank in parts]
        one[name] = (
            Tensor(
                shards[0].dtype,
                np.concatenate(arrays, axis) if axis == 0 or len(arrays) > 1 else arrays[0],
            ),
        )
    return subject.with_tensors(one)


@pytest.mark.parametrize("order", ["3,np,hn", "np,hn,3", "np,3,hn"])
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_give_what_one_rank_gives(order: str, ranks: int) -> None:
    subject = random_gpt2(order=order, ranks=ranks)
    one = joined(subject).at("float64").logits(IDS)
    np.testing.assert_allclose(subject.at("float64").logits(IDS), one, rtol=0, atol=1e-12)


def test_the_two_precisions_agree_to_rounding_and_no_better() -> None:
    subject = random_gpt2()
    single, double = (subject.at(p).logits(IDS) for p in ("float32", "float64"))
    assert single.dtype == np.float32 and double.dtype == np.float64
    assert 0 < np.abs(single - double).max() < 1e-4


def test_a_position_does_not_see_what_comes_after() -> None:
    reference = random_gpt2()
    changed = IDS.copy()
    changed[:, 5:] = 11
    before, after = reference.logits(IDS)[:, :5], reference.logits(changed)[:, :5]
    np.testing.assert_allclose(before, after, rtol=0, atol=1e-5)


def test_hidden_states_are_embeddings_then_every_layer() -> None:
    subject = random_gpt2()
    states = list(subject.hidden_states(IDS))
    assert [state.shape for state in states] == [(2, 8, 32)] * 4
    final = subject.final(states[-1])
    np.testing.assert_array_equal(subject.project(final), subject.logits(IDS))


@pytest.mark.parametrize("ids", [[[101]], [[-1]], [list(range(25))], [[]]])
def test_ids_that_do_not_fit_are_refused(ids: list[list[int]]) -> None:
    with pytest.raises(TokenIdError, match="expected ids below 101, at most 24"):
        random_gpt2().logits(np.array(ids, int))


def test_padding_rows_of_the_vocabulary_do_not_count() -> None:
    subject = random_gpt2(ranks=2)
    first, second = subject.checkpoint.tensors["word_embeddings.weight"]
    spoilt = second.array.copy()
    spoilt[101 - 64 :] = 1e9
    other = subject.with_tensors({"word_embeddings.weight": (first, Tensor("F32", spoilt))})
    np.testing.assert_array_equal(other.logits(IDS), subject.logits(IDS))


def test_float16_weights_are_widened_exactly() -> None:
    half = random_gpt2(dtype="F16")
    wide = {
        name: tuple(Tensor("F32", shard.array.astype(np.float32)) for shard in shards)
        for name, shards in half.checkpoint.tensors.items()
    }
    same = half.with_tensors(wide).logits(IDS)
    np.testing.assert_array_equal(half.logits(IDS), same)


def test_an_asked_for_dtype_rounds_the_weights_first() -> None:
    subject = random_gpt2()
    rounded = {
        name: tuple(cast(shard, "BF16") for shard in shards)
        for name, shards in subject.checkpoint.tensors.items()
    }
    expected = subject.with_tensors(rounded).logits(IDS)
    asked = replace(subject, stored="BF16").logits(IDS)
    np.testing.assert_array_equal(asked, expected)
    assert np.abs(asked - subject.logits(IDS)).max() > 1e-3


def test_layernorm_1p_adds_one_to_every_norm() -> None:
    subject = random_gpt2()
    added = {
        name: (add_one(shards[0], None),)
        for name, shards in subject.checkpoint.tensors.items()
        if name.endswith("layernorm.weight")
    }
    expected = subject.with_tensors(added).logits(IDS)
    np.testing.assert_array_equal(
        subject.with_architecture(layernorm_1p=True).logits(IDS), expected
    )


@pytest.mark.parametrize("target", ["float16", "bfloat16", "float32"])
def test_rounding_is_torchs(target: str) -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [rng.normal(size=4000), rng.normal(size=4000) * 1e-40, [0.0, -0.0, 3e38]]
    )
    single = values.astype(np.float32)
    ties = (np.arange(1, 4000, dtype=np.uint32) * 0x8000 + 0x3F800000).view(np.float32)
    source = np.concatenate([single, ties])
    name = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}[target]
    mine = cast(Tensor("F32", source), name).array
    theirs = torch.from_numpy(source).to(getattr(torch, target))
    bits = {2: torch.int16, 4: torch.int32}[theirs.element_size()]
    np.testing.assert_array_equal(mine.view(f"i{mine.itemsize}"), theirs.view(bits).numpy())
