"""No speed without the right tokens: every contender against FP32 `model.generate`.

In FP32 it must give the very tokens. In 16 bits near ties may turn, so each token is held against
the FP32 logits of the text it stands in: its *regret* is how far its logit is below the best one,
in standard deviations of that position's logits. Regret 0 is the FP32 choice.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from megaport.benchmark.measure import prompt_ids
from megaport.generate.device import Placement
from megaport.generate.engines.base import Batch, Engine
from megaport.generate.model_files import Outline, read_outline
from megaport.generate.sampling import regret

# Bounds of the largest regret. A dtype's rounding moves a logit by about its epsilon (2^-8, 2^-11)
# times a growth over layers; measured maxima are in docs/how-it-works/generation-benchmark.md.
REGRET = {"float32": 0.0, "float16": 0.05, "bfloat16": 0.3}
PROMPTS, PROMPT_LENGTH, NEW_TOKENS = 3, 8, 24


def judged_batches(shape: Outline) -> list[Batch]:
    """What every contender continues for the judge, a prompt at a time."""
    length = min(PROMPT_LENGTH + NEW_TOKENS, shape.positions)
    ids = prompt_ids(shape, PROMPTS, min(PROMPT_LENGTH, length // 2))
    return [Batch([prompt], length) for prompt in ids]


def judged_texts(engine: Engine, shape: Outline) -> Iterator[list[int]]:
    """An engine's greedy texts for judged_batches, each generated when it is asked for."""
    return (engine.generate(batch)[0] for batch in judged_batches(shape))


class Judge:
    """FP32 eager on the device: its greedy texts, and its logits for anybody's text."""

    def __init__(self, model_dir: Path, device: str) -> None:
        from megaport.generate.engines.eager import EagerEngine  # seconds of transformers

        self.engine = EagerEngine.load(model_dir, Placement(device, "float32", "the judge"))
        shape = read_outline(model_dir)
        self.batches = judged_batches(shape)
        self.texts = list(judged_texts(self.engine, shape))

    def agreement(self, dtype: str, texts: list[list[int]]) -> dict[str, Any]:
        """Of the `texts` that a contender gave in `dtype`: whether it `passed`, the share of tokens
        equal to FP32 eager's, and the largest regret."""
        alike = [
            mine == best
            for batch, text, theirs in zip(self.batches, texts, self.texts, strict=True)
            for mine, best in zip(text[batch.width :], theirs[batch.width :], strict=True)
        ]
        equal = sum(alike) / len(alike)
        regret, bound = max(map(self.regret, self.batches, texts)), REGRET[dtype]
        said = f"{equal:.0%} of tokens equal FP32 eager's, largest regret {regret:.3f}"
        return {
            "passed": equal == 1.0 if dtype == "float32" else regret <= bound,
            "equal_tokens": equal,
            "regret": regret,
            "reason": f"{said} (bound {bound})",
        }

    @torch.inference_mode()
    def regret(self, batch: Batch, text: list[int]) -> float:
        """The largest regret among the new tokens of `text`, which continues the batch's prompt."""
        ids = torch.tensor([text], device=self.engine.placement.device)
        logits = self.engine.model(ids).logits[0, batch.width - 1 : -1].float()
        return regret(logits, ids[0, batch.width :])
