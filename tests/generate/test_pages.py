"""Weights on huge pages are the same weights, aligned; small ones stay where they are."""

import pytest
import torch

from megaport.generate.engines.pages import HUGE, on_huge_pages


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_large_tensor_is_copied_to_an_aligned_place(dtype: torch.dtype) -> None:
    tensor = torch.randn(1025, 1024, generator=torch.Generator().manual_seed(0)).to(dtype).T
    placed = on_huge_pages(tensor)
    assert torch.equal(placed, tensor)
    assert placed.is_contiguous()
    assert placed.data_ptr() % HUGE == 0


def test_a_small_tensor_is_only_made_contiguous() -> None:
    tensor = torch.arange(6.0).view(2, 3)
    assert on_huge_pages(tensor).data_ptr() == tensor.data_ptr()
    assert on_huge_pages(tensor.T).tolist() == tensor.T.tolist()
