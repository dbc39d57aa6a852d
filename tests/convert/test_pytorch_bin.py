"""pytorch_model.bin as torch reads it, and the same bytes each time."""

import hashlib
from pathlib import Path

import pytest
import torch
from transformers import GPT2LMHeadModel

from megaport.convert.pytorch_bin import write_pytorch_bin
from support.subjects import convert, small

NAME = "pytorch_model.bin"


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("untied", [False, True])
@pytest.mark.parametrize("limit", [None, 4000])
def test_torch_reads_the_state_dict(
    tmp_path: Path, dtype: str, untied: bool, limit: int | None
) -> None:
    converted = tmp_path / "converted"
    convert(small(untied=untied, dtype="F32"), converted, dtype=dtype, max_shard_size=limit)
    expected = GPT2LMHeadModel.from_pretrained(converted).state_dict()
    digest = write_pytorch_bin(converted, tmp_path / NAME)
    assert digest == hashlib.sha256((tmp_path / NAME).read_bytes()).hexdigest()
    for mapped in (False, True):
        state = torch.load(tmp_path / NAME, weights_only=True, mmap=mapped)
        assert list(state) == list(expected)
        assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
        assert all(tensor.dtype == getattr(torch, dtype) for tensor in state.values())
    head, words = state["lm_head.weight"], state["transformer.wte.weight"]
    assert (head.data_ptr() == words.data_ptr()) is not untied
    assert {tensor.data_ptr() % 64 for tensor in state.values()} == {0}


def test_the_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    convert(small(), tmp_path / "one")
    convert(small(), tmp_path / "two", max_shard_size=2000)
    (tmp_path / "elsewhere").mkdir()
    first = write_pytorch_bin(tmp_path / "one", tmp_path / NAME)
    assert write_pytorch_bin(tmp_path / "two", tmp_path / "elsewhere" / NAME) == first
