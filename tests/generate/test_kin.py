"""Llama and its kin: transformers' engines run them, `fast` says that it knows GPT-2."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from megaport.config.model import Prompt
from megaport.generate.engines import open_engine
from megaport.generate.generate import generate_texts
from megaport.generate.model_files import LLAMAS, ModelFilesError, read_outline
from support.tiny_gpt2 import FP32

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}


@pytest.fixture(params=LLAMAS)
def kin(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(3)
    config = AutoConfig.for_model(request.param, **SIZES, bos_token_id=1, eos_token_id=[96, 95])
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    return tmp_path


def test_eager_generates_and_fast_names_what_it_knows(kin: Path) -> None:
    (made,) = generate_texts(kin, [Prompt(token_ids=[5, 6], max_length=20)], FP32, "eager")
    model = AutoModelForCausalLM.from_pretrained(kin)
    asked = {"max_length": 20, "do_sample": False, "pad_token_id": 0, "eos_token_id": 96}
    assert made.token_ids == model.generate(torch.tensor([[5, 6]]), **asked)[0].tolist()
    with pytest.raises(ModelFilesError, match=r"model_type .*GPT-2.*engine: eager"):
        open_engine("fast", kin, FP32)


def test_what_a_step_reads_is_what_the_weights_say(kin: Path) -> None:
    outline = read_outline(kin)
    model = AutoModelForCausalLM.from_pretrained(kin)
    every = sum(p.numel() for p in model.parameters()) - 97 * 32  # one row of the embedding is read
    assert every * 0.98 <= outline.weights <= every
    assert outline.keys == 2 * 2 * 2 * 16


def test_a_configuration_that_lacks_a_size_is_named(kin: Path) -> None:
    config = json.loads((kin / "config.json").read_text())
    del config["hidden_size"]
    (kin / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFilesError, match=r"config\.json: found no hidden_size"):
        read_outline(kin)
