"""Advice on a checkpoint that does not state its heads: those under which text is likeliest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.model import Checkpoint
from megaport.convert.tokenizer import open_tokenizer
from megaport.decide import ArchitectureError
from megaport.parity.reading import likeliest_heads

TOKENS = 64  # a second for each number of heads on a 345M; a wrong one costs tenths of a nat more
SHOWN = 3


def advised(
    error: ArchitectureError,
    checkpoint: Checkpoint,
    overrides: Mapping[str, Any],
    tokenizer: Path,
    text: Path,
) -> ArchitectureError:
    """The error, with the numbers of heads that make `text` likeliest where that is its matter."""
    advice = heads_by_text(checkpoint, overrides, tokenizer, text)
    remedy = f"{advice}. {error.remedy}" if advice else error.remedy
    return ArchitectureError(error.thing, seen=error.seen, expected=error.expected, remedy=remedy)


def heads_by_text(
    checkpoint: Checkpoint, overrides: Mapping[str, Any], tokenizer: Path, text: Path
) -> str | None:
    """What a text costs with each number of heads, likeliest first, in words.

    `overrides` is the config's `architecture`, `tokenizer` a folder, `text` a file in UTF-8. None
    where the heads are known, or where the text tells nothing.
    """
    if describe_architecture(checkpoint, overrides, draft=True).n_head:
        return None
    ids = open_tokenizer(tokenizer).encode(text.read_text(encoding="utf-8")).ids[:TOKENS]
    tried = likeliest_heads(checkpoint, overrides, ids)
    said = ", ".join(f"{heads} ({nats:.2f} nats a token)" for heads, nats in tried[:SHOWN])
    return f"Heads by how likely English text is: {said}" if said else None
