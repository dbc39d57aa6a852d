"""A GPT-2 of a few thousand weights with a byte-level tokenizer, made by transformers itself."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel

from megaport.generate.device import Placement

FP32 = Placement("cpu", "float32", "a test")
VOCABULARY = 257  # every byte, and the token that begins and ends a text
END = 256
POSITIONS = 96


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gpt2(tmp_path_factory.mktemp("tiny-gpt2"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads would wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_tiny_gpt2(folder: Path, *, tokenizer: bool = True, **changes: object) -> Path:
    """Save a seeded random model whose greedy texts wander; `changes` go to GPT2Config."""
    torch.manual_seed(20)
    settings = {
        "n_layer": 2,
        "n_head": 4,
        "n_embd": 32,
        "n_positions": POSITIONS,
        "vocab_size": VOCABULARY,
        "bos_token_id": END,
        "eos_token_id": END,
        "initializer_range": 0.3,
        "tie_word_embeddings": False,
    }
    model = GPT2LMHeadModel(GPT2Config(**{**settings, **changes}))
    model.save_pretrained(folder)
    if tokenizer:
        _write_tokenizer(folder)
    return folder


def _write_tokenizer(folder: Path) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: number for number, symbol in enumerate(alphabet)} | {"<end>": END}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
