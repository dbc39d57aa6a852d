"""Llama, Qwen2 and Qwen3 from Megatron core: the logits of the code that wrote them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.open import open_checkpoint
from megaport.convert.convert import convert_checkpoint

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(os.environ.get("MEGAPORT_LLAMA", ROOT.parent / "shared" / "llama"))
CASES = sorted(path.parent for path in FOLDER.glob("*/config.json"))
TYPES = {"llama": "llama", "llama31": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}


@pytest.mark.skipif(not CASES, reason="no folder of Llama's that Megatron core wrote")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_logits_are_megatrons(case: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(case, spool=tmp_path)
    architecture = describe_architecture(checkpoint, {})
    out = tmp_path / "out"
    convert_checkpoint(checkpoint, architecture, out, dtype=None, max_shard_size=None)
    said = json.loads((case / "config.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(
        out, dtype="auto", attn_implementation="eager"
    ).eval()
    assert model.config.model_type == TYPES[case.name.split("_")[0]]
    with torch.no_grad():
        logits = model(torch.tensor(np.load(case / "input_ids.npy"))).logits.float().numpy()
    expected = np.load(case / "logits.npy")[..., : said["vocab"]]
    limit = 5e-2 if said.get("dtype") == "bf16" else 5e-5
    assert np.abs(logits - expected).max() < limit
