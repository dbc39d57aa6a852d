"""NaN and infinity are counted in every dtype and layout, and refused by name."""

import numpy as np
import pytest

from megaport.checkpoint.bits import BLOCK, non_finite
from megaport.tensors import STORAGE, Tensor

NAN = {"F64": 0x7FF8 << 48, "F32": 0x7FC00001, "F16": 0x7E00, "BF16": 0x7FC0}
MINUS_INFINITY = {"F64": 0xFFF0 << 48, "F32": 0xFF800000, "F16": 0xFC00, "BF16": 0xFF80}
LARGEST = {"F64": (0x7FEF << 48), "F32": 0x7F7FFFFF, "F16": 0x7BFF, "BF16": 0x7F7F}


def tensor(dtype: str, size: int, at: dict[int, int]) -> Tensor:
    words = np.full(size, LARGEST[dtype], f"<u{STORAGE[dtype].itemsize}")
    for place, word in at.items():
        words[place] = word
    return Tensor(dtype, words.view(STORAGE[dtype]))


@pytest.mark.parametrize("dtype", sorted(NAN))
def test_nan_and_infinity_are_counted_across_blocks(dtype: str) -> None:
    at = {0: NAN[dtype], BLOCK: MINUS_INFINITY[dtype], 2 * BLOCK + 4: NAN[dtype]}
    assert non_finite(tensor(dtype, 2 * BLOCK + 5, at)) == 3
    assert non_finite(tensor(dtype, 2 * BLOCK + 5, {})) == 0


@pytest.mark.parametrize("dtype", sorted(NAN))
def test_views_that_are_not_contiguous_are_counted_too(dtype: str) -> None:
    whole = tensor(dtype, 60, {7: NAN[dtype], 59: NAN[dtype]}).array.reshape(6, 10)
    assert non_finite(Tensor(dtype, whole.T)) == 2
    assert non_finite(Tensor(dtype, whole[:, ::2])) == 0
    assert non_finite(Tensor(dtype, whole[:, 1::2])) == 2


def test_empty_and_integer_tensors_have_none() -> None:
    assert non_finite(Tensor("F32", np.zeros((0, 3), "<f4"))) == 0
    assert non_finite(Tensor("I64", np.full(3, -1, "<i8"))) == 0
    assert non_finite(Tensor("F32", np.array(np.inf, "<f4"))) == 1
