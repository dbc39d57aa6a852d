"""Models under the defaults of transformers: what a user gets who says nothing."""

import math
import warnings
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
    pipeline,
)

from support.llama_models import random_llama
from support.subjects import assembled, lines_of_text, read_bundled

STEPS = 20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundled")
    return assembled(read_bundled(folder), folder)


def test_it_is_loaded_in_float32_and_in_what_is_asked_for(model: Path) -> None:
    assert AutoModelForCausalLM.from_pretrained(model).dtype == torch.float32
    half = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float16)
    assert half.dtype == torch.float16
    for line in ("stored in float16", "loaded in float32", "dtype=torch.float16).cuda()"):
        assert line in (model / "README.md").read_text()


@pytest.mark.parametrize("repeats", [1, 120])
def test_pipeline_asks_for_more_than_the_positions_and_gets_what_there_are(
    model: Path, repeats: int
) -> None:
    """Its default is 256 new tokens, on 256 positions."""
    generate = pipeline("text-generation", model=str(model))
    prompt = " ".join(["Emma"] * repeats)
    text = generate(prompt)[0]["generated_text"]
    assert text.startswith(prompt)
    assert len(generate.tokenizer(text)["input_ids"]) <= 256


def test_generate_without_a_word_ends_at_the_last_position(model: Path) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(model)
    with warnings.catch_warnings(action="error", category=UserWarning):
        assert loaded.generate(torch.tensor([[10161]])).shape[1] <= 256
    ids = (loaded.generation_config.eos_token_id, loaded.generation_config.pad_token_id)
    assert ids == (50256, 50256)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    subject = random_llama(vocab=50257, padded=50304, positions=256, untied=True)
    return assembled(subject, tmp_path_factory.mktemp("llama"))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "first", "share"), [("model", 8, 0.98), ("llama", 12, 1)])
def test_trainer_with_its_defaults_learns_saves_and_loads(
    kind: str, first: float, share: float, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model = request.getfixturevalue(kind)
    tokenizer = AutoTokenizer.from_pretrained(model)
    # Only where to save, how long, and that every step's loss is kept, is said.
    arguments = TrainingArguments(output_dir=str(tmp_path), max_steps=STEPS, logging_steps=1)
    trainer = Trainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        args=arguments,
        train_dataset=[tokenizer(line) for line in lines_of_text(16)],
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == STEPS and all(map(math.isfinite, losses))
    assert losses[0] < first and sum(losses[-5:]) < share * sum(losses[:5]), losses
    trainer.save_model(str(tmp_path / "saved"))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    ids = torch.tensor([tokenizer("It is a truth universally acknowledged")["input_ids"]])
    trained = trainer.model.eval()
    with torch.no_grad():
        assert torch.equal(again.eval()(ids).logits, trained(ids.to(trained.device)).logits.cpu())
