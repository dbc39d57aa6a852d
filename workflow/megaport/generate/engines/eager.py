"""The model card's way: `model.generate` of transformers."""

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LogitsProcessor
from transformers.utils import logging

from megaport.generate.device import Placement
from megaport.generate.engines.base import Job, finish, non_finite, out_of_memory


class EagerEngine:
    """One transformers model on its device."""

    name = "eager"
    note = "model.generate of transformers"

    def __init__(self, model: Any, placement: Placement) -> None:
        self.model, self.placement = model, placement

    @classmethod
    def load(cls, model_dir: Path, placement: Placement) -> Self:
        logging.disable_progress_bar()
        try:
            model = AutoModelForCausalLM.from_pretrained(
                model_dir, dtype=placement.torch_dtype, local_files_only=True
            )
            return cls(model.to(torch.device(placement.device)), placement)
        except torch.OutOfMemoryError as error:
            raise out_of_memory("engine eager, weights", placement.device, error) from error

    @torch.inference_mode()
    def generate(self, job: Job) -> list[list[int]]:
        """One batch; sampled rows one by one, as transformers draws from one generator for all."""
        try:
            if job.sampling.greedy:
                return finish(job, self._run(job, list(job.prompts), seed=0))
            rows = [
                self._run(job, [prompt], seed)[0]
                for prompt, seed in zip(job.prompts, job.seeds, strict=True)
            ]
            return finish(job, rows)
        except torch.OutOfMemoryError as error:
            what = f"engine eager, {len(job.prompts)} rows of {job.max_length} tokens"
            raise out_of_memory(what, self.placement.device, error) from error

    def _run(self, job: Job, prompts: list[Any], seed: int) -> list[list[int]]:
        """New tokens of each row."""
        width = max(len(prompt) for prompt in prompts)
        ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        watch = _Watch(job)
        devices = [self.placement.device] if self.placement.device == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            made = self.model.generate(
                ids.to(self.placement.device),
                attention_mask=mask.to(self.placement.device),
                logits_processor=[watch],
                **_settings(job, job.max_length - min(len(p) for p in prompts)),
            )
        if not watch.finite:
            raise non_finite(self.name, self.placement.dtype)
        new: list[list[int]] = made[:, width:].tolist()
        return new


class _Watch(LogitsProcessor):
    """Sees every step's logits: marks the step, remembers whether all were finite."""

    def __init__(self, job: Job) -> None:
        self.mark = job.mark
        self.seen: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        finite = torch.isfinite(scores.amax(-1)).all()
        self.seen = finite if self.seen is None else self.seen & finite
        if self.mark:
            self.mark()
        return scores

    @property
    def finite(self) -> bool:
        return self.seen is None or bool(self.seen)


def _settings(job: Job, new_tokens: int) -> dict[str, Any]:
    stop = {"eos_token_id": job.stop, "pad_token_id": job.stop or 0}
    length = {"max_new_tokens": new_tokens, "use_cache": True}
    if job.sampling.greedy:
        return {**stop, **length, "do_sample": False}
    chosen = job.sampling
    sampled = {"temperature": chosen.temperature, "top_k": chosen.top_k, "top_p": chosen.top_p}
    return {**stop, **length, **sampled, "do_sample": True}
