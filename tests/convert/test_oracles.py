"""Every checkpoint that real Megatron code wrote, converted, gives that code's own logits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from support.oracles import Oracle, oracle_cases
from support.subjects import convert, read_oracle

TOLERANCE = 5e-5  # separates right from wrong: a wrong GELU costs 2e-3


@pytest.mark.oracle
@pytest.mark.parametrize("oracle", oracle_cases(), ids=lambda oracle: oracle.name)
def test_converted_logits_are_megatrons(oracle: Oracle, tmp_path: Path) -> None:
    out = convert(read_oracle(oracle, tmp_path), tmp_path / "converted")
    model = GPT2LMHeadModel.from_pretrained(out, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = model(torch.from_numpy(oracle.input_ids())).logits.numpy()
    assert logits.shape == oracle.logits().shape
    assert np.abs(logits - oracle.logits()).max() < TOLERANCE
