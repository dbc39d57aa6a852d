"""The token ids that both sides are given, and what one is told to compare."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from megaport.parity.golden import Golden
from megaport.table import Architecture
from megaport.tensors import Array

# Enough of the text for a stable perplexity, little enough for two cores and 345M parameters.
TEXT_TOKENS = 2048
# Positions of the longest input: all that a GPT-2 has; rotary positions have no end of their own,
# and attention over 100,000 of them would take what no machine has.
LONGEST = 2048
# Long enough to attend over, short enough to repeat for every hypothesis of the diagnosis.
SHORT = 32


@dataclass(frozen=True)
class ParityOptions:
    """How to compare. `text` is the excerpt that the text checks read; `published` a file of
    published token ids, None unless the tokenizer is GPT-2's; `dtypes` (torch names) are compared
    with float32 on `device` ("auto", "cuda", "cpu"); `seed` makes the random ids; `stored` is the
    dtype (a safetensors name) the conversion was asked for, None for the checkpoint's own."""

    text: Path
    published: Path | None = None
    golden: Golden | None = None
    device: str = "auto"
    dtypes: tuple[str, ...] = ("bfloat16",)
    seed: int = 0
    stored: str | None = None


@dataclass(frozen=True)
class Inputs:
    """Integer ids: `random` [1, up to 2,048], seeded and uniform over the vocabulary; `short`
    [1, up to 32], the same less its first and last entry; `text` windows [k, up to 2,048], None
    without a tokenizer."""

    random: Array
    short: Array
    text: Array | None

    @property
    def prompt(self) -> Array:
        """Where greedy continuation starts: the text's start if there is one, [1, up to 16]."""
        source = self.random if self.text is None else self.text
        return source[:1, : max(1, min(SHORT, source.shape[1]) // 2)]

    @property
    def sequences(self) -> dict[str, Array]:
        """Each kind of input by the name it has in the report."""
        named = {"random ids": self.random}
        return named if self.text is None else named | {"text": self.text}


def make_inputs(architecture: Architecture, text_ids: list[int] | None, seed: int) -> Inputs:
    """Random ids of the full context from `seed`; `text_ids` cut into windows of full context,
    where the model has all of them.

    Full means 2,048 positions where the model has more.
    """
    length = min(architecture.n_positions, LONGEST)
    rng = np.random.default_rng(seed)
    random = rng.integers(architecture.vocab_size, size=(1, length))
    # A vocabulary off by one takes the rows at its ends from anywhere: no token of the diagnosis.
    low, high = (1, architecture.vocab_size - 1) if architecture.vocab_size > 2 else (0, 1)
    short = rng.integers(low, high, size=(1, min(length, SHORT)))
    known = text_ids is not None and max(text_ids) < architecture.vocab_size
    return Inputs(random, short, windows(text_ids, length) if text_ids and known else None)


def windows(ids: list[int], length: int) -> Array:
    """Windows [k, S] of the first ids of a text, S at most `length`.

    A text shorter than that is one shorter window; what does not fill a window is left out.
    """
    taken = np.array(ids[: max(TEXT_TOKENS, length)], np.int64)
    length = min(length, len(taken))
    whole = len(taken) // length
    return taken[: whole * length].reshape(whole, length)
