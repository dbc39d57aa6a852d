"""The reference: its arithmetic, and that it reads ranks and dtypes as they are stored."""

import math

import numpy as np
import pytest
import torch

from megaport.parity.arithmetic import cast, erf, gelu_erf, gelu_tanh
from megaport.parity.reference import TokenIdError
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


def test_the_two_precisions_agree_to_rounding_and_no_better() -> None:
    subject = random_gpt2()
    single, double = (subject.at(p).logits(IDS) for p in ("float32", "float64"))
    assert single.dtype == np.float32 and double.dtype == np.float64
    assert 0 < np.abs(single - double).max() < 1e-4


@pytest.mark.parametrize("ids", [[[101]], [[-1]], [list(range(25))], [[]]])
def test_ids_that_do_not_fit_are_refused(ids: list[list[int]]) -> None:
    with pytest.raises(TokenIdError, match="expected ids below 101, at most 24"):
        random_gpt2().logits(np.array(ids, int))


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
