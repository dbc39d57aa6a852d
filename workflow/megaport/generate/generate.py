"""Text for every prompt of a model directory, by one engine on one placement."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tqdm import tqdm

from megaport.generate.device import Placement
from megaport.generate.engines.base import Engine, Job
from megaport.generate.engines.registry import load_engine
from megaport.generate.model_files import read_shape
from megaport.generate.prompts import PromptError, PromptRequest
from megaport.generate.sampling import Sampling


@dataclass(frozen=True)
class Generation:
    """One text: `text` holds the prompt and what follows (None without a tokenizer), `token_ids`
    the same as ids, `prompt_tokens` how many of them are the prompt."""

    prompt: str | None
    prompt_tokens: int
    text: str | None
    token_ids: tuple[int, ...]
    settings: dict[str, Any]


def generate_texts(
    model_dir: Path, requests: Sequence[PromptRequest], placement: Placement, engine: str
) -> list[Generation]:
    """A Generation for every sequence of every request, in order; seeded, so repeatable.

    Raises PromptError where a prompt cannot be put in tokens of this model, and what the engine
    raises (EngineError, NonFiniteLogitsError, OutOfMemoryError).
    """
    vocabulary = _Vocabulary(model_dir)
    prompts = [vocabulary.encode(request) for request in requests]
    loaded = load_engine(engine, model_dir, placement)
    texts: list[Generation] = []
    quiet = not sys.stderr.isatty()
    pairs = list(zip(requests, prompts, strict=True))
    for request, prompt in tqdm(pairs, desc="generate", unit="prompt", disable=quiet):
        texts += _generate(loaded, vocabulary, request, prompt)
    return texts


def _generate(
    engine: Engine, vocabulary: "_Vocabulary", request: PromptRequest, prompt: list[int]
) -> list[Generation]:
    count = request.num_return_sequences
    sampling = Sampling(
        greedy=not request.do_sample,
        temperature=request.temperature,
        top_k=request.top_k,
        top_p=request.top_p,
    )
    job = Job(
        prompts=[prompt] * count,
        max_length=request.max_length,
        sampling=sampling,
        seeds=[request.seed + index for index in range(count)],
        stop=vocabulary.stop,
    )
    rows = engine.generate(job)
    return [
        Generation(
            prompt=request.prompt,
            prompt_tokens=len(prompt),
            text=vocabulary.decode(row),
            token_ids=tuple(row),
            settings=_settings(request, index),
        )
        for index, row in enumerate(rows)
    ]


def _settings(request: PromptRequest, index: int) -> dict[str, Any]:
    settings = request.settings()
    return settings | ({"seed": request.seed + index} if request.do_sample else {})


class _Vocabulary:
    """Text to ids and back where the model has a tokenizer; ids as they are where it has none."""

    def __init__(self, model_dir: Path) -> None:
        file = model_dir / "tokenizer.json"
        self.tokenizer = Tokenizer.from_file(str(file)) if file.is_file() else None
        shape = read_shape(model_dir)
        self.start, self.stop, self.size = shape.bos, shape.eos, shape.vocabulary
        self.positions = shape.positions

    def encode(self, request: PromptRequest) -> list[int]:
        ids = self._ids(request)
        if max(ids) >= self.size:
            raise _refused(request, f"token id {max(ids)}", f"ids below {self.size}")
        if not len(ids) < request.max_length <= self.positions:
            seen = f"{len(ids)} tokens of prompt and max_length {request.max_length}"
            raise _refused(request, seen, f"prompt < max_length <= {self.positions} positions")
        return ids

    def _ids(self, request: PromptRequest) -> list[int]:
        if request.token_ids is not None:
            return list(request.token_ids)
        if request.prompt is None:
            if self.start is None:
                raise _refused(request, "no start token in this model", "token_ids")
            return [self.start]
        if self.tokenizer is None:
            raise _refused(request, "text, for a model without a tokenizer", "token_ids")
        return list(self.tokenizer.encode(request.prompt).ids)

    def decode(self, ids: list[int]) -> str | None:
        if self.tokenizer is None:
            return None
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))


def _refused(request: PromptRequest, seen: str, expected: str) -> PromptError:
    named = repr(request.prompt) if request.prompt is not None else str(request.token_ids)
    return PromptError(
        f"prompt {named}",
        seen=seen,
        expected=expected,
        remedy="Correct `generate.prompts`, or give the model `prompts` of its own.",
    )
