"""The model directory is taken as it is, offline, by everything that takes a GPT-2."""

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from megaport.convert.model_card import model_card
from megaport.convert.tokenizer import PUBLISHED, TokenizerError, TokenizerFiles, open_tokenizer
from support.subjects import GPT2, assembled, digest, small

CONTRACT = [
    "README.md",
    "SHA256SUMS",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
]
# Ids of OpenAI's own encoder for these texts.
TEXTS = {
    "Hello world": [15496, 995],
    "It is a truth universally acknowledged,": [1026, 318, 257, 3872, 26208, 10810, 11],
    "<|endoftext|>": [50256],
    " déjà vu": [39073, 73, 24247, 410, 84],
    "": [],
}


def built(folder: Path, *, positions: int = 64, vocab: int = 50257, **options: Any) -> Path:
    subject = small(positions=positions, vocab=vocab, padded=-(-vocab // 128) * 128)
    return assembled(subject, folder, name="austen|tiny", **options)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("assembled"))


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Any attempt to reach a network fails the test."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield


def test_the_directory_holds_the_files_of_the_contract(model: Path) -> None:
    assert sorted(path.name for path in model.iterdir()) == CONTRACT
    assert all(path.is_file() and not path.is_symlink() for path in model.iterdir())


def test_sha256sums_lists_every_other_file(model: Path) -> None:
    lines = (model / "SHA256SUMS").read_text().splitlines()
    listed = dict(reversed(line.split("  ")) for line in lines)
    assert sorted(listed) == [name for name in CONTRACT if name != "SHA256SUMS"]
    assert all(digest(model / name) == said for name, said in listed.items())


def test_auto_tokenizer_and_the_tokenizers_library_give_gpt2s_ids(model: Path) -> None:
    tokenizer, alone = AutoTokenizer.from_pretrained(model), open_tokenizer(model)
    assert len(tokenizer) == 50257
    for text, ids in TEXTS.items():
        assert tokenizer(text)["input_ids"] == alone.encode(text).ids == ids
        assert tokenizer.decode(ids) == text
    assert tokenizer.bos_token == tokenizer.eos_token == tokenizer.unk_token == "<|endoftext|>"
    assert tokenizer.model_max_length == 64


def test_pipeline_generates_one_and_a_batch(model: Path) -> None:
    generate = pipeline("text-generation", model=str(model))
    one = generate("Hello", max_new_tokens=3, do_sample=False)[0]["generated_text"]
    batch = generate(
        ["Hello", "It is a truth universally"], batch_size=2, max_new_tokens=3, do_sample=False
    )
    assert one.startswith("Hello") and len(one) > 5
    assert batch[0][0]["generated_text"].startswith("Hello")
    assert batch[1][0]["generated_text"].startswith("It is a truth universally")


def test_the_model_card_says_what_and_whence(model: Path) -> None:
    card = (model / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    for text in (
        "# austen|tiny",
        "c0ffee" * 10,
        "| era | a random model |",
        "| n_embd | 16 |",
        "| numpy | 2.4.6 |",
        "sha256sum -c SHA256SUMS",
        "OpenAI",
    ):
        assert text in card, text


def test_what_a_file_says_can_neither_mark_up_nor_fill_the_card(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    made = {"subject": "x", "value": ["<b>|\n\x1b[2J", "y" * 999], "reason": "", "override": None}
    inspection = {"parameters": 1, "architecture": {}, "checkpoint": {}, "decisions": [made]}
    provenance = {"name": "n", "content": "c", "inspection": inspection}
    card = model_card(config, provenance, stored="float32", tokenizer=True, published=False)
    (row,) = [line for line in card.splitlines() if line.startswith("| x |")]
    assert "<b>" not in row and "\x1b" not in row and "&lt;b&gt;\\|" in row and len(row) < 700


def test_shards_are_assembled_with_their_index(tmp_path: Path) -> None:
    folder = built(tmp_path, max_shard_size=1_000_000)
    weights = sorted(path.name for path in folder.glob("model*"))
    assert weights == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]
    AutoModelForCausalLM.from_pretrained(folder)


def test_no_tokenizer_means_no_tokenizer_files(tmp_path: Path) -> None:
    folder = built(tmp_path, tokenizer=None, vocab=300)
    assert sorted(path.name for path in folder.iterdir()) == [
        name for name in CONTRACT if name not in PUBLISHED and not name.startswith("tokenizer")
    ]
    assert json.loads((folder / "generation_config.json").read_text()) == {"max_length": 64}
    assert "without a tokenizer" in (folder / "README.md").read_text()
    ids = torch.tensor([[1, 2]])
    assert (
        AutoModelForCausalLM.from_pretrained(folder).generate(ids, max_new_tokens=2).shape[1] == 4
    )


def test_hazard_a_tokenizer_larger_than_the_model(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"50257 tokens for a model of vocab_size 300"):
        built(tmp_path, vocab=300)


@pytest.mark.parametrize("name", PUBLISHED)
def test_hazard_a_vocabulary_that_is_not_the_published_one(tmp_path: Path, name: str) -> None:
    resources = tmp_path / "gpt2"
    shutil.copytree(GPT2, resources)
    (resources / name).write_bytes((GPT2 / name).read_bytes() + b"\n")
    with pytest.raises(TokenizerError, match=PUBLISHED[name]):
        built(tmp_path / "one", tokenizer=TokenizerFiles(resources, PUBLISHED))
    (resources / name).unlink()
    with pytest.raises(TokenizerError, match="No such file"):
        built(tmp_path / "two", tokenizer=TokenizerFiles(resources, PUBLISHED))


def test_the_resources_are_as_their_digests_say() -> None:
    for line in (GPT2 / "SHA256SUMS").read_text().splitlines():
        said, name = line.split("  ")
        assert digest(GPT2 / name) == said
        assert PUBLISHED.get(name, said) == said
