"""What every engine offers, so that generation, correctness and timing need to know only this."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

import torch

from megaport.errors import MegaportError
from megaport.generate.device import Placement
from megaport.generate.sampling import Sampling


class EngineError(MegaportError):
    """An engine that cannot run this model here."""


class NonFiniteLogitsError(MegaportError):
    """NaN or infinity among the logits: the dtype's range was left."""


class OutOfMemoryError(MegaportError):
    """The device's memory does not hold the model with this batch and length."""


@dataclass(frozen=True)
class Batch:
    """One batch: rows of prompt token ids, each continued to at most `max_length` tokens.

    `seeds` has one entry a row when sampling. `stop` is the token that ends a row; None runs
    every row to full length, which is what measurements need. `mark` is called once for every
    token position as soon as its work is submitted; it must not synchronise.
    """

    prompts: Sequence[Sequence[int]]
    max_length: int
    sampling: Sampling = field(default_factory=Sampling)
    seeds: Sequence[int] = ()
    stop: int | None = None
    mark: Callable[[], None] | None = None

    @property
    def width(self) -> int:
        """Columns of the left-padded batch."""
        return max(len(prompt) for prompt in self.prompts)

    @property
    def padded(self) -> list[list[int]]:
        """The prompts, each with zeros before it up to `width`."""
        return [[0] * (self.width - len(prompt)) + list(prompt) for prompt in self.prompts]

    @property
    def steps(self) -> int:
        """Tokens to produce so that the shortest row reaches `max_length`."""
        return self.max_length - min(len(prompt) for prompt in self.prompts)


class Engine(Protocol):
    """`load` once, `generate` often. Rows come back with their prompt, without padding."""

    name: str
    note: str  # what a reader of its figures must know, e.g. what it compiled
    in_stream: bool  # whether a mark is a point in torch's CUDA stream (else: in time)

    @classmethod
    def load(cls, model_dir: Path, placement: Placement) -> Self:
        """Read a model directory. Raises EngineError, OutOfMemoryError."""

    def generate(self, batch: Batch) -> list[list[int]]:
        """Token ids row by row. Raises NonFiniteLogitsError, OutOfMemoryError, EngineError."""


def finish(batch: Batch, columns: Sequence[Sequence[int]]) -> list[list[int]]:
    """Rows of prompt and new tokens, cut at `max_length` and after the first `stop`."""
    rows = []
    for prompt, new in zip(batch.prompts, columns, strict=True):
        kept = list(new[: max(batch.max_length - len(prompt), 0)])
        if batch.stop in kept:
            kept = kept[: kept.index(batch.stop) + 1]
        rows.append([*prompt, *kept])
    return rows


def check_length(batch: Batch, positions: int) -> None:
    """Raise EngineError unless the batch adds a token and stays within the model's positions."""
    if batch.width >= batch.max_length or batch.max_length > positions:
        raise EngineError(
            "max_length",
            seen=f"{batch.max_length} with a prompt of {batch.width} tokens",
            expected=f"more than the prompt, at most the model's {positions} positions",
            remedy="Correct `max_length`, or shorten the prompt.",
        )


def non_finite(engine: str, dtype: str) -> NonFiniteLogitsError:
    return NonFiniteLogitsError(
        f"logits of engine {engine}",
        seen=f"NaN or infinity in {dtype}",
        expected="finite numbers",
        remedy="The activations leave the range of this dtype: set `dtype: bfloat16` or "
        "`dtype: float32` for this model.",
    )


@contextmanager
def memory_for(engine: str, device: str, batch: Batch | None = None) -> Iterator[None]:
    """Raise OutOfMemoryError, naming the batch (None: the weights), where torch has no memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        what = f"{len(batch.prompts)} rows of {batch.max_length} tokens" if batch else "weights"
        raise OutOfMemoryError(
            f"engine {engine}, {what}",
            seen=f"out of memory on {device} ({str(error).splitlines()[0]})",
            expected="room for the weights, the key-value cache and the activations",
            remedy="Use a smaller batch or max_length, a 16-bit dtype, or `device: cpu`.",
        ) from error
