"""The lines that an inspection ends with are a configuration."""

import pytest
import yaml

from megaport.config.load import load_config
from megaport.config.model import Model
from megaport.config.paste import to_paste


def inspected(vocabulary: int = 50257, heads: int | None = 4) -> dict[str, object]:
    return {
        "architecture": {"vocab_size": vocabulary, "padded_vocab_size": 50304},
        "decisions": [{"subject": "n_head", "value": heads}],
    }


@pytest.mark.parametrize(
    ("vocabulary", "tokenizer"),
    [(50257, "gpt2"), (50304, "gpt2"), (50256, None), (512, None)],
)
def test_they_give_the_model_they_were_made_from(vocabulary, tokenizer):
    given = {
        "checkpoint": {"path": "/a b/c: d.pt", "version": 1},
        "architecture": {"n_head": 2, "vocab_size": 9, "tie_word_embeddings": True},
        "tokenizer": tokenizer,
        "dtype": "bfloat16",
        "prompts": [{"prompt": 'It "is"', "seed": 3}],
    }
    model = Model.model_validate(given)
    config = load_config(yaml.safe_load(to_paste(inspected(vocabulary), "mine", model)))
    assert config.names == ["mine"]
    assert config.models["mine"] == model


def test_what_nobody_states_is_asked_for():
    model = Model.model_validate({"checkpoint": {"path": "m.pt"}})
    assert "    architecture: {n_head: ?}\n" in to_paste(inspected(heads=None), "m", model)


def test_the_padding_of_gpt2s_vocabulary_is_told():
    model = Model.model_validate({"checkpoint": {"path": "m.pt"}, "tokenizer": "auto"})
    assert "vocab_size: 50257}" in to_paste(inspected(50304), "m", model)
    assert "vocab_size" not in to_paste(inspected(50257), "m", model)


@pytest.mark.parametrize(
    ("said", "vocabulary", "pasted"),
    [("auto", 50257, '"gpt2"'), ("auto", 9, "null"), (None, 50257, "null"), ("a b", 9, '"a b"')],
)
def test_the_tokenizer_is_what_fits(said, vocabulary, pasted):
    model = Model.model_validate({"checkpoint": {"path": "m.pt"}, "tokenizer": said})
    assert f"    tokenizer: {pasted}\n" in to_paste(inspected(vocabulary), "m", model)


def test_secrets_of_urls_are_not_shown():
    model = Model.model_validate({"checkpoint": {"urls": ["https://me:pass@host/a?token=t"]}})
    pasted = to_paste(inspected(), "m", model)
    assert "https://host/a?token=***" in pasted
    assert "pass" not in pasted
