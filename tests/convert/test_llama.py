"""A Llama's model directory: complete, and taken as it is by what takes one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import processors
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    pipeline,
)

from megaport.convert.pytorch_bin import write_pytorch_bin
from megaport.convert.tokenizer import files_in
from support.llama_models import random_llama
from support.subjects import SENTENCE, assembled, trained

CHAT = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"


@pytest.fixture(params=["llama", "qwen2", "qwen3", "mistral"], scope="module")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp(request.param)
    subject = random_llama(request.param, vocab=320, padded=384)
    return assembled(subject, work, tokenizer=_tokenizer(work / "own"), dtype="bfloat16")


def _tokenizer(folder: Path) -> Any:
    folder.mkdir()
    own = trained("</s>", "<s>")
    start = own.token_to_id("<s>")
    own.post_processor = processors.TemplateProcessing(
        single="<s> $0", special_tokens=[("<s>", start)]
    )
    own.save(str(folder / "tokenizer.json"))
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    (folder / "chat_template.jinja").write_text(CHAT)
    return files_in(folder)


def test_generation_stops_where_the_tokenizer_says(model: Path) -> None:
    ids = {"bos_token_id": 1, "eos_token_id": 0, "pad_token_id": 0}
    assert json.loads((model / "generation_config.json").read_text()) == ids
    config = json.loads((model / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"]) == (1, 0)


def test_it_is_loaded_as_it_is_stored_and_generates(model: Path) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(model)
    assert loaded.dtype == torch.bfloat16
    text = pipeline("text-generation", model=str(model))("It is", max_new_tokens=5)
    assert text[0]["generated_text"].startswith("It is")


def test_the_tokenizer_is_whole(model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    assert tokenizer.decode(tokenizer(SENTENCE)["input_ids"], skip_special_tokens=True) == SENTENCE
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Why?"}], tokenize=False)
    assert chat == "[user]Why?"


def test_the_card_names_the_class_and_how_it_is_stored(model: Path) -> None:
    card = (model / "README.md").read_text()
    name = json.loads((model / "config.json").read_text())["architectures"][0]
    assert f"A `{name}`" in card and "OpenAI" not in card


def test_torch_reads_its_state_dict(model: Path, tmp_path: Path) -> None:
    write_pytorch_bin(model, tmp_path / "pytorch_model.bin")
    state = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    expected = AutoModelForCausalLM.from_pretrained(model).state_dict()
    assert sorted(state) == sorted(expected)
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


def test_hazard_transformers_splits_text_as_qwen_does_for_every_qwen2(tmp_path: Path) -> None:
    """Fails when transformers reads tokenizer.json there too: the card's paragraph can then go."""
    text = "123"
    for kind, same in (("qwen2", False), ("llama", True)):
        (tmp_path / kind).mkdir()
        folder = assembled(random_llama(kind, vocab=50257, padded=50304), tmp_path / kind)
        ours = PreTrainedTokenizerFast.from_pretrained(folder)(text)["input_ids"]
        assert ours == [10163]
        assert (AutoTokenizer.from_pretrained(folder)(text)["input_ids"] == ours) is same
        assert ("PreTrainedTokenizerFast" in (folder / "README.md").read_text()) is not same
