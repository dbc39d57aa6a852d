"""The assembled bundled model: through the Hugging Face Trainer, and through all of parity."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.inspect import inspection
from megaport.checkpoint.open import open_checkpoint
from megaport.convert.model_dir import assemble_model
from megaport.convert.tokenizer import PUBLISHED, TokenizerFiles
from megaport.parity.parity import examine
from megaport.parity.reference import Reference
from megaport.parity.references import reference_of
from support.parity_models import OPTIONS, ROOT, TEXT, convert

BUNDLED = ROOT / "resources" / "austen-tiny" / "megatron_austen_tiny_v0.0.zip"
STEPS, BLOCK, BATCH = 6, 64, 4


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    checkpoint = open_checkpoint(BUNDLED, spool=tmp_path_factory.mktemp("spool"))
    said = {"n_head": 4, "vocab_size": 50257, "activation_function": "gelu_new"}
    return reference_of(checkpoint, describe_architecture(checkpoint, said))


@pytest.fixture(scope="module")
def model_dir(bundled: Reference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("bundled")
    provenance = {
        "name": "austen-tiny",
        "content": "0" * 64,
        "inspection": inspection(bundled.checkpoint, bundled.architecture),
    }
    tokenizer = TokenizerFiles(ROOT / "resources" / "gpt2", PUBLISHED)
    converted = convert(bundled, work / "converted")
    assemble_model(converted, work / "model", tokenizer=tokenizer, provenance=provenance)
    return work / "model"


def test_the_bundled_model_passes_every_check_that_applies(
    bundled: Reference, model_dir: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(TEXT.read_text(encoding="utf-8")[:2400], encoding="utf-8")
    options = replace(OPTIONS, text=text, dtypes=("bfloat16",))
    report = examine(bundled.checkpoint, bundled.architecture, model_dir, options)
    found = {verdict.name: verdict.outcome for verdict in report.verdicts}
    assert found.pop("published logits") == "not applicable"
    assert set(found.values()) == {"passed"} and len(found) == 10
    perplexity = next(verdict for verdict in report.verdicts if verdict.name == "perplexity")
    assert 30 < perplexity.measures[0].seen < 120


@pytest.mark.slow
def test_the_trainer_lowers_the_loss_and_what_it_saves_is_what_it_trained(
    model_dir: Path, tmp_path: Path
) -> None:
    """The same blocks again and again, so that a few steps must already help."""
    tokenizer = AutoTokenizer.from_pretrained(model_dir, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(
        model_dir, dtype=torch.float32, local_files_only=True
    )
    ids = tokenizer(TEXT.read_text(encoding="utf-8"))["input_ids"][: BATCH * BLOCK]
    blocks = [{"input_ids": ids[i : i + BLOCK]} for i in range(0, len(ids), BLOCK)]
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(tmp_path / "run"),
            max_steps=STEPS,
            per_device_train_batch_size=BATCH,
            learning_rate=1e-3,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            seed=0,
        ),
        train_dataset=blocks,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == STEPS and all(map(math.isfinite, losses))
    assert losses[-1] < losses[0] - 0.3

    trainer.save_model(str(tmp_path / "saved"))
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", local_files_only=True)
    batch = torch.tensor([ids[:BLOCK]])
    with torch.inference_mode():
        trained = model.eval()(batch).logits
        assert torch.equal(reloaded.eval()(batch).logits, trained)
