"""From prompts to texts: tokenize, run an engine, decode; and the files that hold the texts."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tqdm import tqdm

from megaport.config.model import Prompt
from megaport.generate.device import Placement
from megaport.generate.engines import open_engine
from megaport.generate.engines.base import Batch
from megaport.generate.model_files import SMALL, Outline, read_outline
from megaport.generate.prompts import Takes, token_ids
from megaport.generate.sampling import Sampling


@dataclass(frozen=True)
class Generation:
    """One sequence. `text` and `prompt` are None where there are only token ids; `token_ids` begins
    with the `prompt_tokens` ids it was given; `settings` is what the Prompt asked for."""

    prompt: str | None
    text: str | None
    token_ids: list[int]
    prompt_tokens: int
    settings: dict[str, Any]
    device: str
    dtype: str
    engine: str


def generate_texts(
    model_dir: Path, prompts: Sequence[Prompt], placement: Placement, engine: str = "fast"
) -> list[Generation]:
    """Every sequence of every prompt, in order, one at a time: no text hangs on its neighbours.

    Raises PromptError, EngineError, NonFiniteLogitsError, OutOfMemoryError.
    """
    shape, takes = read_outline(model_dir), read_takes(model_dir)
    tokenizer = takes.tokenizer
    given = [(prompt, token_ids(prompt, takes)) for prompt in prompts]
    rows = [(p, ids, number) for p, ids in given for number in range(p.num_return_sequences)]
    texts: list[Generation] = []
    with _threads(shape, placement):
        running = open_engine(engine, model_dir, placement)
        for prompt, ids, number in tqdm(rows, unit="text", disable=None):
            length, seed = prompt.max_length or shape.positions, prompt.seed + number
            batch = Batch([ids], length, _sampling(prompt), seeds=[seed], stop=shape.eos)
            (made,) = running.generate(batch)
            texts.append(
                Generation(
                    prompt=prompt.prompt,
                    text=tokenizer.decode(made) if tokenizer else None,
                    token_ids=made,
                    prompt_tokens=len(ids),
                    settings=_settings(prompt, length, seed),
                    device=placement.device,
                    dtype=placement.dtype,
                    engine=running.name,
                )
            )
    return texts


def read_takes(model_dir: Path) -> Takes:
    """What the model in a model directory takes; no tokenizer where prompts are token ids."""
    shape, path = read_outline(model_dir), model_dir / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path)) if path.is_file() else None
    return Takes(shape.vocabulary, shape.positions, shape.bos, tokenizer)


def write_generations(
    generations: Sequence[Generation], placement: Placement, engine: str, out: Path
) -> None:
    """Write out/generations.jsonl for programs and out/generations.txt for people, the same bytes
    every time; the text says first where it ran."""
    lines = [json.dumps(asdict(g), ensure_ascii=False, sort_keys=True) for g in generations]
    _write(out / "generations.jsonl", "".join(line + "\n" for line in lines))
    header = f"device {placement.device}, dtype {placement.dtype}, engine {engine}"
    blocks = [f"{header}: {placement.reason}\n", *map(_block, generations)]
    _write(out / "generations.txt", "\n".join(blocks))


@contextmanager
def _threads(shape: Outline, placement: Placement) -> Iterator[None]:
    """One thread for a small model: others' work then costs little where two threads would wait for
    each other at every layer, and the texts are the same on any number of cores."""
    threads = torch.get_num_threads()
    if placement.device == "cpu" and shape.weights * placement.torch_dtype.itemsize < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _sampling(p: Prompt) -> Sampling:
    return Sampling(False, p.temperature, p.top_k, p.top_p) if p.do_sample else Sampling()


def _settings(prompt: Prompt, max_length: int, seed: int) -> dict[str, Any]:
    """What was asked for beside the prompt, with the seed of this very text."""
    chosen = {"do_sample": prompt.do_sample, "max_length": max_length}
    if not prompt.do_sample:
        return chosen
    sampled = {key: getattr(prompt, key) for key in ("temperature", "top_k", "top_p")}
    return {**chosen, "seed": seed, **sampled}


def _block(generation: Generation) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in generation.settings.items())
    prompt = "unconditional" if generation.prompt is None else repr(generation.prompt)
    if generation.prompt is None and generation.prompt_tokens > 1:
        prompt = f"{generation.prompt_tokens} token ids"
    text = generation.text
    body = text if text is not None else " ".join(map(str, generation.token_ids))
    return f"--- {prompt} ({settings})\n{body}\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
