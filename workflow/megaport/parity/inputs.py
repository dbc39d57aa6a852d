"""The token ids that both sides are given."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from megaport.table import Architecture
from megaport.tensors import Array

# Enough of the text for a stable perplexity, little enough for two cores and 345M parameters.
TEXT_TOKENS = 2048
# Long enough to attend over, short enough to repeat for every hypothesis of the diagnosis.
SHORT = 32


@dataclass(frozen=True)
class Inputs:
    """Integer ids: `random` [1, n_positions], seeded and uniform over the vocabulary; `short`
    [1, up to 32], the same less its first and last entry; `text` windows [k, up to n_positions],
    None without a tokenizer."""

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
    """Random ids of the full context from `seed`; `text_ids` cut into windows of full context.

    A text shorter than the context is one shorter window; what does not fill a window is left out.
    """
    length = architecture.n_positions
    rng = np.random.default_rng(seed)
    random = rng.integers(architecture.vocab_size, size=(1, length))
    # A vocabulary off by one takes the rows at its ends from anywhere: no token of the diagnosis.
    short = rng.integers(1, architecture.vocab_size - 1, size=(1, min(length, SHORT)))
    return Inputs(random, short, None if text_ids is None else _windows(text_ids, length))


def _windows(ids: list[int], length: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    taken = np.array(ids[: max(TEXT_TOKENS, length)], np.int64)
    length = min(length, len(taken))
    whole = len(taken) // length
    return taken[: whole * length].reshape(whole, length)
