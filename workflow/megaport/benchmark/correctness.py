"""No speed without the right tokens: every engine against FP32 `model.generate`, before timing.

In FP32 an engine must give the very tokens. In 16 bits near ties may turn, so each token is held
against the FP32 logits of the text it stands in: its *regret* is how far its logit is below the
best one, in standard deviations of that position's logits. Regret 0 is the FP32 choice.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from megaport.benchmark.measure import prompt_ids
from megaport.benchmark.registry import open_any
from megaport.generate.device import Placement
from megaport.generate.engines.base import Job
from megaport.generate.engines.eager import EagerEngine
from megaport.generate.model_files import read_shape

# Bounds of the largest regret. A dtype's rounding moves a logit by about its epsilon (2^-8, 2^-11)
# times a growth over layers; measured maxima are in docs/how-it-works/generation-benchmark.md.
REGRET = {"float32": 0.0, "float16": 0.05, "bfloat16": 0.3}
PROMPTS, PROMPT_LENGTH, NEW_TOKENS = 3, 8, 24


@dataclass(frozen=True)
class Verdict:
    """`passed`, the share of tokens equal to FP32 eager's, and the largest regret, per dtype."""

    passed: bool
    dtype: str
    equal_tokens: float
    regret: float
    reason: str

    def as_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


class Reference:
    """FP32 eager on the device: its greedy texts, and its logits for anybody's text."""

    def __init__(self, model_dir: Path, device: str, seed: int) -> None:
        self.placement = Placement(device, "float32", "the reference")
        self.engine = EagerEngine.load(model_dir, self.placement)
        shape = read_shape(model_dir)
        length = min(PROMPT_LENGTH + NEW_TOKENS, shape.positions)
        ids = prompt_ids(shape, PROMPTS, min(PROMPT_LENGTH, length // 2), seed)
        self.jobs = [Job([prompt], length) for prompt in ids]
        self.texts = [self.engine.generate(job)[0] for job in self.jobs]

    @torch.inference_mode()
    def regret(self, job: Job, text: list[int]) -> float:
        """The largest regret among the new tokens of `text`, a continuation of the job's prompt."""
        ids = torch.tensor([text], device=self.placement.device)
        logits = self.engine.model(ids).logits[0, job.width - 1 : -1].float()
        chosen = logits.gather(1, ids[0, job.width :, None])[:, 0]
        below = (logits.amax(-1) - chosen) / logits.std(-1)
        return float(below.max())


def check(name: str, model_dir: Path, dtype: str, reference: Reference) -> Verdict:
    """The verdict on engine `name` in `dtype`. Raises MegaportError where it cannot run at all."""
    device = reference.placement.device
    engine = open_any(name, model_dir, Placement(device, dtype, "the correctness check"))
    texts = [engine.generate(job)[0] for job in reference.jobs]
    pairs = list(zip(reference.jobs, texts, reference.texts, strict=True))
    regret = max(reference.regret(job, text) for job, text, _ in pairs)
    equal = [a == b for job, text, best in pairs for a, b in _new_tokens(job, text, best)]
    return _verdict(dtype, sum(equal) / len(equal), regret)


def _new_tokens(job: Job, text: list[int], best: list[int]) -> list[tuple[int, int]]:
    return list(zip(text[job.width :], best[job.width :], strict=True))


def _verdict(dtype: str, equal: float, regret: float) -> Verdict:
    bound = REGRET[dtype]
    said = f"{equal:.0%} of tokens equal FP32 eager's, largest regret {regret:.3f} (bound {bound})"
    passed = equal == 1.0 if dtype == "float32" else regret <= bound
    return Verdict(passed, dtype, equal, regret, said)
