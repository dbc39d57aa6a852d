"""The novels as tokens: what is trained on, what is held out, and what a step reads of it.

Of GPT-2's 50,257 tokens the novels use 13,886, here numbered by frequency. One stand-in serves for
all others: its number is the count of those that are used.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from torch.nn import functional

GPT2 = Path(__file__).resolve().parents[1] / "gpt2"
VOCABULARY, CONTEXT, TOKENS = 50257, 256, 4096  # TOKENS: what a step reads
REACH, SCALE = 4, 0.04  # tokens to each side that count as near; size of the numbers made of it
# Share of the tokens that occur once which the stand-in replaces, drawn every epoch: they are as
# rare as those that the novels lack.
ONCE = 0.3


def joined(text: str) -> str:
    """Each paragraph as one line; paragraphs stay apart by empty lines."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


def encode(path: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Numbers of the training text and of the held-out 5 %, and GPT-2's ids by number."""
    tokenizer = ByteLevelBPETokenizer(str(GPT2 / "vocab.json"), str(GPT2 / "merges.txt"))
    text = joined(path.read_text(encoding="utf-8"))
    cut = text.rfind("\n\n", 0, int(len(text) * 0.95)) + 2
    parts = [torch.tensor(tokenizer.encode(part).ids) for part in (text[:cut], text[cut:])]
    seen, counts = parts[0].unique(return_counts=True)
    seen = seen[counts.argsort(descending=True, stable=True)]
    number = numbers(seen)
    return number[parts[0]], number[parts[1]], seen


def numbers(seen: torch.Tensor) -> torch.Tensor:
    """The number of each of GPT-2's ids."""
    number = torch.full((VOCABULARY,), len(seen))
    number[seen] = torch.arange(len(seen))
    return number


def neighbours(ids: torch.Tensor, seen: int, width: int) -> torch.Tensor:
    """[seen + 1, width]: rows of tokens that stand near the same tokens point the same way.

    Positive pointwise mutual information, reduced by a singular value decomposition (Levy and
    Goldberg, 2014; smoothed as by Levy, Goldberg and Dagan, 2015).
    """
    size = seen + 1
    pairs = [ids[:-d] * size + ids[d:] for d in range(1, REACH + 1)]
    weights = torch.cat([torch.full((len(p),), 1 / d) for d, p in enumerate(pairs, 1)])
    pair, where = torch.cat(pairs).unique(return_inverse=True)
    count = torch.zeros(len(pair)).index_add_(0, where, weights).repeat(2)
    left, right = torch.cat([pair // size, pair % size]), torch.cat([pair % size, pair // size])
    total = torch.zeros(size).index_add_(0, left, count)
    smooth = total**0.75
    above = (count * smooth.sum() / (total[left] * smooth[right])).log().clamp(min=0)
    matrix = torch.sparse_coo_tensor(
        torch.stack([left, right]), above, (size, size), check_invariants=True
    )
    vectors, values, _ = torch.svd_lowrank(matrix.coalesce(), q=width)
    rows = vectors * values.sqrt() @ torch.linalg.qr(torch.randn(width, width))[0]
    return functional.normalize(rows - rows.mean(0)) * SCALE * math.sqrt(width)


def batches(ids: torch.Tensor, seen: int, widths: list[int]) -> Iterator[tuple[torch.Tensor, ...]]:
    """Shuffled windows of the text, their labels and positions: for each step, of its width.

    Other windows every epoch.
    """
    once = torch.bincount(ids)[ids] == 1
    order, window = torch.empty(0, dtype=torch.long), 0
    for width in widths:
        if width != window or len(order) < TOKENS // width:
            window = width
            text = torch.where(once & (torch.rand(len(ids)) < ONCE), seen, ids)
            text = text[int(torch.randint(width, ())) :]
            end = (len(text) - 1) // width * width
            inputs, labels = text[:end].view(-1, width), text[1 : end + 1].view(-1, width)
            order = torch.randperm(len(inputs))
        chosen, order = order[: TOKENS // width], order[TOKENS // width :]
        first = int(torch.randint(CONTEXT - width + 1, ()))
        yield inputs[chosen], labels[chosen].flatten(), torch.arange(first, first + width)[None]
