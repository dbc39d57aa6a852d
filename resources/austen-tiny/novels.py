"""The novels as tokens: what is trained on, what is held out, and what a step reads of it.

Of GPT-2's 50,257 tokens the novels use 13,886, here numbered by frequency. One stand-in serves for
all others: its number is the count of those that are used.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from torch.nn import functional

GPT2 = Path(__file__).resolve().parents[1] / "gpt2"
VOCABULARY, CONTEXT, SHORT = 50257, 256, 128  # SHORT: what most steps read at once
TOKENS = 4096  # in a step
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


def spelling(seen: torch.Tensor) -> torch.Tensor:
    """[seen + 1, parts], CSR: which parts each token is spelt of, of those that several share."""
    names = {i: token for token, i in json.loads((GPT2 / "vocab.json").read_text()).items()}
    spelt = [_parts(names[i]) for i in seen.tolist()]
    counts = Counter(part for parts in spelt for part in parts)
    number = {part: i for i, part in enumerate(sorted(p for p in counts if counts[p] > 1))}
    pairs = [(row, number[p]) for row, parts in enumerate(spelt) for p in parts if p in number]
    where = torch.tensor(pairs).T
    weights = torch.bincount(where[0])[where[0]].float().rsqrt()
    size = (len(seen) + 1, len(number))
    return torch.sparse_coo_tensor(where, weights, size, check_invariants=True).to_sparse_csr()


def _parts(token: str) -> list[str]:
    """The letters without their case, how it begins and ends, its case and the space before it."""
    word = token.lstrip("\u0120")  # how GPT-2's vocabulary spells a space
    low = word.lower()
    parts = [low] if word == token else [low, "space"]
    if not word[:1].isalpha():
        return [*parts, "sign"]
    parts.append("capital" if word[0].isupper() else "small")
    parts += [f"-{low[-n:]}" for n in range(1, 5) if len(low) >= n + 2]
    return parts + [f"{low[:n]}-" for n in range(3, 7) if len(low) > n]


def batches(
    ids: torch.Tensor, seen: int, widths: list[int], seed: int
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Shuffled windows of the text, their labels and positions: for each step, of its width.

    Other windows every epoch.
    """
    dice = torch.Generator().manual_seed(seed)
    once = torch.bincount(ids)[ids] == 1
    order, window = torch.empty(0, dtype=torch.long), 0
    for width in widths:
        if width != window or len(order) < TOKENS // width:
            window = width
            text = torch.where(once & (torch.rand(len(ids), generator=dice) < ONCE), seen, ids)
            text = text[int(torch.randint(width, (), generator=dice)) :]
            end = (len(text) - 1) // width * width
            inputs, labels = text[:end].view(-1, width), text[1 : end + 1].view(-1, width)
            order = torch.randperm(len(inputs), generator=dice)
        chosen, order = order[: TOKENS // width], order[TOKENS // width :]
        first = int(torch.randint(CONTEXT - width + 1, (), generator=dice))
        yield inputs[chosen], labels[chosen], torch.arange(first, first + width)[None]
