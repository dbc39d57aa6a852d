"""How the next token is chosen: greedy, or by inverse transform sampling from seeded uniforms.

One uniform a row and step, drawn beforehand on the CPU, makes a sample independent of the batch
it runs in, of the device's generator, and of any host synchronisation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """`temperature` > 0, `top_k` 0 = all, `top_p` in (0, 1]; meaningless when `greedy`."""

    greedy: bool = True
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


def uniforms(seeds: Sequence[int], steps: int) -> Tensor:
    """float32 [steps, rows] in [0, 1): column i from a generator seeded with seeds[i]."""
    columns = [torch.rand(steps, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(columns, dim=1)


def choose(logits: Tensor, sampling: Sampling, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Token ids int64 [rows] from logits [rows, vocab] and uniforms [rows]; never synchronises.

    Beside them bool [rows]: whether the largest logit is finite (it is NaN where any logit is).
    """
    if sampling.greedy:
        # On a CPU four times as fast as argmax, and its value is wanted anyway.
        best, ids = logits.max(-1)
        return ids, torch.isfinite(best)
    count = logits.shape[-1]
    kept = min(sampling.top_k, count) or count
    scores, ids = torch.topk(logits.float() / sampling.temperature, kept, dim=-1)
    weights = torch.softmax(scores, -1, dtype=torch.float64)
    cumulative = weights.cumsum(-1)
    if sampling.top_p < 1.0:
        # The token that crosses top_p stays, as in Holtzman et al. 2020 (nucleus sampling).
        weights = weights.masked_fill(cumulative - weights >= sampling.top_p, 0.0)
        cumulative = weights.cumsum(-1)
    target = uniform.to(cumulative.dtype)[:, None] * cumulative[:, -1:]
    rank = torch.searchsorted(cumulative, target, right=True).clamp_(max=kept - 1)
    return ids.gather(-1, rank)[:, 0], torch.isfinite(scores[:, 0])


def regret(logits: Tensor, ids: Tensor) -> float:
    """How far the logits of `ids` [rows] are below the best at most, in standard deviations of
    their row of `logits` [rows, vocab]. 0 is the greedy choice; NaN where a logit is NaN."""
    chosen = logits.gather(1, ids[:, None])[:, 0]
    return float(((logits.amax(-1) - chosen) / logits.std(-1)).max())
