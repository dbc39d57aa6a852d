"""Advice on a checkpoint that does not state its heads: those under which text is likeliest."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.model import Checkpoint
from megaport.convert.tokenizer import open_tokenizer
from megaport.decide import ArchitectureError
from megaport.errors import MegaportError
from megaport.parity.gpt2 import divisors
from megaport.parity.reading import nats
from megaport.parity.references import reference_of
from megaport.table import WORD

TOKENS = 64  # a second for each number of heads on a 345M; a wrong one costs tenths of a nat more
SHOWN = 3


def advised(
    error: ArchitectureError,
    checkpoint: Checkpoint,
    overrides: Mapping[str, Any],
    tokenizer: Path,
    text: Path,
) -> ArchitectureError:
    """The error, with the numbers of heads that make a text likeliest where that is its matter.

    `overrides` is the config's `architecture`, `tokenizer` a folder, `text` a file in UTF-8.
    """
    if describe_architecture(checkpoint, overrides, draft=True).n_head:
        return error
    ids = open_tokenizer(tokenizer).encode(text.read_text(encoding="utf-8")).ids[:TOKENS]
    tried = likeliest_heads(checkpoint, overrides, ids)[:SHOWN]
    said = ", ".join(f"{heads} ({cost:.2f} nats a token)" for heads, cost in tried)
    remedy = (
        f"Heads by how likely English text is: {said}. {error.remedy}" if said else error.remedy
    )
    return ArchitectureError(error.thing, seen=error.seen, expected=error.expected, remedy=remedy)


def likeliest_heads(
    checkpoint: Checkpoint, overrides: Mapping[str, Any], ids: Sequence[int]
) -> list[tuple[int, float]]:
    """Every possible number of heads with the nats a token that text `ids` costs, likeliest first.

    For a checkpoint that does not state its heads; `overrides` is the config's `architecture`.
    """
    key = "n_head" if "position_embeddings.weight" in checkpoint.tensors else "num_attention_heads"
    hidden = checkpoint.tensors[WORD][0].shape[1]
    found = []
    for heads in divisors(hidden, checkpoint.tensor_parallel):
        with suppress(MegaportError):  # shapes that do not allow so many, ids beyond the vocabulary
            architecture = describe_architecture(checkpoint, {**overrides, key: heads})
            windows = np.array(ids, np.int64)[None, : architecture.n_positions]
            costs = nats(reference_of(checkpoint, architecture), windows)
            found.append((heads, float(costs.mean())))
    return sorted(found, key=lambda pair: pair[1])
