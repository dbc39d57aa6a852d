"""Texts from a model directory, and the files that hold them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import pipeline

from megaport.config.model import Prompt
from megaport.generate import generate
from megaport.generate.device import Placement, resolve_device
from megaport.generate.engines import open_engine
from megaport.generate.generate import generate_texts, write_generations
from megaport.generate.prompts import PromptError
from support.tiny_gpt2 import END

FP32 = Placement("cpu", "float32", "no CUDA device; a test")
PROMPTS = [
    Prompt(max_length=12),
    Prompt(prompt="It is", max_length=24),
    Prompt(token_ids=[1, 2, 3], max_length=24),
    Prompt(prompt="It", do_sample=True, seed=7, top_k=50, max_length=24, num_return_sequences=2),
]


def test_every_sequence_comes_in_order_with_what_made_it(tiny: Path) -> None:
    made = generate_texts(tiny, PROMPTS, FP32)
    assert [g.prompt for g in made] == [None, "It is", None, "It", "It"]
    assert made[0].token_ids[0] == END
    assert made[1].text is not None
    assert made[1].text.startswith("It is")
    assert made[1].prompt_tokens == 5
    assert made[2].token_ids[:3] == [1, 2, 3]
    assert [g.settings.get("seed") for g in made] == [None, None, None, 7, 8]
    assert made[3].token_ids != made[4].token_ids
    assert all(len(g.token_ids) <= 24 for g in made)
    assert {(g.device, g.dtype, g.engine) for g in made} == {("cpu", "float32", "fast")}


def test_the_default_on_a_cpu_is_the_text_of_transformers_pipeline(tiny: Path) -> None:
    (made,) = generate_texts(tiny, [PROMPTS[1]], resolve_device("cpu"))
    run = pipeline("text-generation", model=str(tiny), device="cpu")
    asked = {"max_length": 24, "max_new_tokens": None, "do_sample": False, "pad_token_id": END}
    (theirs,) = run("It is", return_tensors=True, **asked)
    assert made.token_ids == theirs["generated_token_ids"]
    assert run("It is", **asked)[0]["generated_text"] == made.text


def test_a_seed_gives_its_text_again_beside_any_other_prompt(tiny: Path) -> None:
    alone = generate_texts(tiny, PROMPTS[3:], FP32)
    assert alone == generate_texts(tiny, PROMPTS, FP32)[3:]


def test_without_a_tokenizer_prompts_are_ids_and_text_is_null(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").unlink()
    (made,) = generate_texts(tmp_path / "model", [PROMPTS[2]], FP32)
    assert made.text is None
    with pytest.raises(PromptError, match="without tokenizer"):
        generate_texts(tmp_path / "model", [PROMPTS[1]], FP32)


def test_a_prompt_the_model_cannot_serve_is_refused_before_it_loads(
    tiny: Path, tmp_path: Path
) -> None:
    shutil.copy(tiny / "config.json", tmp_path)
    with pytest.raises(PromptError, match="at most the model's 96 positions"):
        generate_texts(tmp_path, [Prompt(max_length=97)], FP32)


def test_files_are_the_same_bytes_and_say_where_they_come_from(tiny: Path, tmp_path: Path) -> None:
    contents = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        made = generate_texts(tiny, PROMPTS, FP32)
        write_generations(made, FP32, "fast", tmp_path / folder)
        contents.append({p.name: p.read_bytes() for p in (tmp_path / folder).iterdir()})
    assert contents[0] == contents[1]
    lines = contents[0]["generations.jsonl"].decode().splitlines()
    assert [json.loads(line)["token_ids"] for line in lines] == [g.token_ids for g in made]
    text = contents[0]["generations.txt"].decode()
    first = "device cpu, dtype float32, engine fast: no CUDA device; a test"
    assert text.splitlines()[0] == first
    assert text.count("\n--- ") == 5
    assert "--- 3 token ids (do_sample False, max_length 24)" in text


def test_the_bar_shows_on_a_terminal_only(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate_texts(tiny, PROMPTS[:1], FP32)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("limit", "threads"), [(0, 2), (2**30, 1)])
def test_a_small_model_runs_on_one_thread_and_leaves_the_count_as_it_was(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, limit: int, threads: int
) -> None:
    seen: list[int] = []

    def opened(*given: object) -> object:
        seen.append(torch.get_num_threads())
        return open_engine(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(generate, "SMALL", limit)
    monkeypatch.setattr(generate, "open_engine", opened)
    torch.set_num_threads(2)
    generate_texts(tiny, PROMPTS[:1], FP32)
    assert (seen, torch.get_num_threads()) == ([threads], 2)
