"""model/ as other people's tools take it: as it is, offline, by their own ways of loading."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)

from support.llama_models import random_llama
from support.subjects import assembled, lines_of_text, read_bundled

pytestmark = pytest.mark.slow
TEXT = "It is a truth universally acknowledged"
LLAMA_CPP = Path(__file__).resolve().parents[2] / "build" / "clients" / "llama.cpp"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundled")
    return assembled(read_bundled(folder), folder)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")


def test_peft_trains_an_adapter_saves_and_loads_it(model: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    tokenizer = AutoTokenizer.from_pretrained(model)
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(model), LoraConfig(task_type="CAUSAL_LM", r=4)
    )
    trainer = Trainer(
        model=adapted,
        args=TrainingArguments(
            output_dir=str(tmp_path), max_steps=20, learning_rate=1e-2, logging_steps=1
        ),
        train_dataset=[tokenizer(line) for line in lines_of_text(8)],
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert sum(losses[-3:]) < sum(losses[:3]), losses
    adapted.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(model), tmp_path / "adapter"
    )
    ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = adapted.eval()(ids).logits
        torch.testing.assert_close(again.eval()(ids).logits, expected)
        assert not torch.allclose(again.unload()(ids).logits, expected)


def test_lm_eval_measures_the_perplexity_that_transformers_computes(
    model: Path, tmp_path: Path
) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    lines = lines_of_text(6)
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in lines))
    (tmp_path / "austen.yaml").write_text(
        f"""task: austen
dataset_path: json
dataset_kwargs: {{data_files: {{test: {tmp_path}/lines.jsonl}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list: [{{metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}}]
"""
    )
    found = simple_evaluate(
        model="hf",
        model_args=f"pretrained={model}",
        tasks=["austen"],
        task_manager=TaskManager(include_path=str(tmp_path)),
        device="cpu",
    )
    seen = found["results"]["austen"]["bits_per_byte,none"]
    assert seen == pytest.approx(bits_per_byte(model, lines), rel=1e-3)


def bits_per_byte(model: Path, lines: list[str]) -> float:
    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = AutoModelForCausalLM.from_pretrained(model).eval()
    nats = 0.0
    for line in lines:
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(line)["input_ids"]]])
        with torch.no_grad():
            nats += loaded(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
    return nats / sum(len(line.encode()) for line in lines) / np.log(2)


def test_an_onnx_export_computes_the_same(model: Path, tmp_path: Path) -> None:
    import onnxruntime

    loaded = AutoModelForCausalLM.from_pretrained(model, attn_implementation="eager").eval()
    loaded.config.use_cache = False
    ids = AutoTokenizer.from_pretrained(model)(TEXT, return_tensors="pt")["input_ids"]
    torch.onnx.export(loaded, (ids,), tmp_path / "model.onnx", dynamo=True)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (seen, *_) = session.run(None, {session.get_inputs()[0].name: ids.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(seen, loaded(ids).logits.numpy(), atol=1e-3)


def gguf_of(model: Path, out: Path) -> Any:
    """What llama.cpp's converter makes of it, as its reader sees it."""
    from gguf import GGUFReader

    script = LLAMA_CPP / "convert_hf_to_gguf.py"
    run = subprocess.run(
        [sys.executable, script, model, "--outfile", out, "--outtype", "f16"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return GGUFReader(out)


def test_llama_cpps_converter_takes_every_tensor(model: Path, tmp_path: Path) -> None:
    reader = gguf_of(model, tmp_path / "model.gguf")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    state = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float16).state_dict()
    words = state["transformer.wte.weight"].numpy()
    np.testing.assert_array_equal(tensors["token_embd.weight"].data, words)
    context = reader.fields["gpt2.context_length"].contents()
    assert context == 256


def write_sentencepiece(path: Path) -> None:
    import sentencepiece

    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines_of_text(200)), model_writer=file, vocab_size=300
        )


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "mistral"])
def test_llama_cpps_converter_takes_a_llama(kind: str, tmp_path: Path) -> None:
    model = assembled(random_llama(kind, vocab=50257, padded=50304), tmp_path)
    if kind == "qwen2":
        # Of a Qwen2 transformers 5 reads every tokenizer.json as Qwen's, and the converter tells
        # that by the ids of Qwen's own vocabulary, which is not here: it takes this file first.
        write_sentencepiece(model / "tokenizer.model")
    reader = gguf_of(model, tmp_path / "model.gguf")
    tensors = {tensor.name for tensor in reader.tensors}
    assert {f"blk.1.attn_{part}.weight" for part in "qkv"} <= tensors
    architecture = reader.fields["general.architecture"].contents()
    assert reader.fields[f"{architecture}.attention.head_count_kv"].contents() == 2
