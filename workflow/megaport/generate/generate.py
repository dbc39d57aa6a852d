"""From prompts to texts: tokenize, run an engine, decode."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tqdm import tqdm

from megaport.config.model import Prompt
from megaport.generate.device import Placement
from megaport.generate.engines import open_engine
from megaport.generate.engines.base import Batch, Engine
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


@dataclass(frozen=True)
class _Text:
    prompt: Prompt
    max_length: int
    seed: int
    token_ids: list[int]

    @property
    def form(self) -> tuple[int, Sampling]:
        p = self.prompt
        sampled = Sampling(False, p.temperature, p.top_k, p.top_p)
        return self.max_length, sampled if p.do_sample else Sampling()

    def settings(self) -> dict[str, Any]:
        """What was asked for beside the prompt, with the seed of this very text."""
        chosen = {"do_sample": self.prompt.do_sample, "max_length": self.max_length}
        if not self.prompt.do_sample:
            return chosen
        keys = ("temperature", "top_k", "top_p")
        return {**chosen, "seed": self.seed, **{key: getattr(self.prompt, key) for key in keys}}


def generate_texts(
    model_dir: Path,
    prompts: Sequence[Prompt],
    placement: Placement,
    engine: str = "fast",
    *,
    batch_size: int = 1,
) -> list[Generation]:
    """Every sequence of every prompt, in order.

    Rows that follow each other with equal settings run up to `batch_size` at a time; in 16-bit
    dtypes a larger batch can turn a near tie, so 1 keeps prompts independent of each other.
    Raises PromptError, EngineError, NonFiniteLogitsError, OutOfMemoryError.
    """
    shape = read_outline(model_dir)
    tokenizer = open_tokenizer(model_dir)
    takes = Takes(shape.vocabulary, shape.positions, shape.bos, tokenizer)
    rows = [row for prompt in prompts for row in _texts(prompt, takes)]
    texts: list[Generation] = []
    with _threads(shape, placement), tqdm(total=len(rows), unit="text", disable=None) as bar:
        running = open_engine(engine, model_dir, placement)
        for batch in _batches(rows, batch_size):
            for row, ids in zip(batch, _run(running, batch, shape), strict=True):
                texts.append(_generation(row, ids, tokenizer, placement, running.name))
            bar.update(len(batch))
    return texts


@contextmanager
def _threads(shape: Outline, placement: Placement) -> Iterator[None]:
    """One thread for a small model: others' work then costs little where two threads would wait for
    each other at every layer, and the texts are the same on any number of cores."""
    threads = torch.get_num_threads()
    if placement.device == "cpu" and shape.weight_bytes(placement.torch_dtype.itemsize) < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def open_tokenizer(model_dir: Path) -> Tokenizer | None:
    """The tokenizer of a model directory; None where prompts are token ids."""
    path = model_dir / "tokenizer.json"
    return Tokenizer.from_file(str(path)) if path.is_file() else None


def _texts(prompt: Prompt, takes: Takes) -> Iterator[_Text]:
    ids = token_ids(prompt, takes)
    for number in range(prompt.num_return_sequences):
        yield _Text(prompt, prompt.max_length or takes.positions, prompt.seed + number, ids)


def _batches(rows: list[_Text], size: int) -> Iterator[list[_Text]]:
    for _, group in groupby(rows, key=lambda row: row.form):
        alike = list(group)
        yield from (alike[start : start + size] for start in range(0, len(alike), size))


def _run(engine: Engine, batch: list[_Text], shape: Outline) -> list[list[int]]:
    max_length, sampling = batch[0].form
    return engine.generate(
        Batch(
            [row.token_ids for row in batch],
            max_length,
            sampling,
            seeds=[row.seed for row in batch],
            stop=shape.eos,
        )
    )


def _generation(
    row: _Text, ids: list[int], tokenizer: Tokenizer | None, placement: Placement, engine: str
) -> Generation:
    return Generation(
        prompt=row.prompt.prompt,
        text=tokenizer.decode(ids) if tokenizer else None,
        token_ids=ids,
        prompt_tokens=len(row.token_ids),
        settings=row.settings(),
        device=placement.device,
        dtype=placement.dtype,
        engine=engine,
    )
