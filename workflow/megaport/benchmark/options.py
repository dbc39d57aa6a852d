"""What a benchmark measures; the defaults suit the bundled model on two cores."""

from collections.abc import Iterator
from dataclasses import dataclass

from megaport.generate.model_files import Outline

# The model card's own workload: one unconditional text with max_length=32.
CARD_LENGTH = 32


@dataclass(frozen=True)
class BenchmarkOptions:
    """`dtypes` None: the device's default. Each engine is measured at every batch size with the
    first prompt length, and at every prompt length with the first batch size. `patience_s` is how
    long a process may say nothing: a compilation takes minutes."""

    device: str = "auto"
    dtypes: tuple[str, ...] | None = None
    engines: tuple[str, ...] = ("eager", "fast")
    batch_sizes: tuple[int, ...] = (1, 4)
    prompt_lengths: tuple[int, ...] = (1, 32)
    new_tokens: int = 32
    repeats: int = 3
    seed: int = 0
    patience_s: float = 900.0


@dataclass(frozen=True)
class Point:
    """One thing to measure: `batch` rows of `prompt` tokens, each continued by `new_tokens`."""

    workload: str
    batch: int
    prompt: int
    new_tokens: int

    def bytes_per_step(self, shape: Outline, itemsize: int) -> int:
        """What one decode step reads at least: all weights, and the keys and values of every row at
        the middle of the run."""
        context = self.prompt + self.new_tokens // 2
        return shape.weight_bytes(itemsize) + self.batch * context * shape.kv_bytes(itemsize)


def points(options: BenchmarkOptions) -> Iterator[Point]:
    """The card's workload first, then batch sizes, then prompt lengths."""
    batches, prompts, new = options.batch_sizes, options.prompt_lengths, options.new_tokens
    yield Point("card", 1, 1, CARD_LENGTH - 1)
    yield from (Point("batch", batch, prompts[0], new) for batch in batches)
    yield from (Point("prompt", batches[0], prompt, new) for prompt in prompts[1:])
