"""transformers' `model.generate`, as the model card has it: the reference for all others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.generation.logits_process import LogitsProcessor, LogitsProcessorList
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList

from megaport.generate.device import Placement
from megaport.generate.engines.base import (
    Batch,
    EngineError,
    check_length,
    finish,
    memory_for,
    non_finite,
)
from megaport.generate.sampling import choose, uniforms


class EagerEngine:
    """A GPT2LMHeadModel and its own generation loop."""

    name = "eager"
    note = "model.generate"
    in_stream = True

    def __init__(self, model: Any, placement: Placement) -> None:
        self.model, self.placement = model, placement

    @classmethod
    def load(cls, model_dir: Path, placement: Placement) -> Self:
        with memory_for(cls.name, placement.device):
            try:
                model: Any = AutoModelForCausalLM.from_pretrained(
                    model_dir, dtype=placement.torch_dtype, local_files_only=True
                )
            except (OSError, ValueError, SafetensorError) as error:
                raise _unloadable(model_dir, error) from error
            model = model.to(placement.device).eval()
        # Only what a batch says counts: a stop token of the model's own would cut measurements.
        model.generation_config = GenerationConfig(pad_token_id=0)
        return cls(model, placement)

    @torch.inference_mode()
    def generate(self, batch: Batch) -> list[list[int]]:
        self._check(batch)
        device = self.placement.device
        watch = _Watch(batch, device)
        seen = [[n >= batch.width - len(p) for n in range(batch.width)] for p in batch.prompts]
        with memory_for(self.name, device, batch):
            whole = self.model.generate(
                torch.tensor(batch.padded, device=device),
                attention_mask=torch.tensor(seen, device=device, dtype=torch.int64),
                generation_config=GenerationConfig(
                    max_new_tokens=batch.steps,
                    do_sample=False,
                    eos_token_id=batch.stop,
                    pad_token_id=0,
                    **self._options(),
                ),
                logits_processor=LogitsProcessorList([watch]),
                stopping_criteria=StoppingCriteriaList([_Mark(batch.mark)]),
            )
        if not watch.finite.all():
            raise non_finite(self.name, self.placement.dtype)
        return finish(batch, whole[:, batch.width :].tolist())

    def _options(self) -> dict[str, Any]:
        """What GenerationConfig is given beside a batch's own."""
        return {}

    def _check(self, batch: Batch) -> None:
        positions = self.model.config.max_position_embeddings
        check_length(batch, positions)
        # Its rows all run the same number of steps, the longest one past max_length.
        if batch.width + batch.steps > positions:
            raise EngineError(
                f"engine {self.name}",
                seen=f"{batch.width} + {batch.steps} positions for prompts of unequal length",
                expected=f"at most {positions}",
                remedy="Use a batch size of 1, or `engine: fast`.",
            )


class _Watch(LogitsProcessor):
    """Notes logits that are not finite; when sampling, leaves only our sampler's token."""

    def __init__(self, batch: Batch, device: str) -> None:
        self.sampling, self.step = batch.sampling, 0
        self.finite = torch.ones(len(batch.prompts), dtype=torch.bool, device=device)
        draws = None if batch.sampling.greedy else uniforms(batch.seeds, batch.steps)
        self.draws = None if draws is None else draws.to(device)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        if self.draws is None:
            self.finite.logical_and_(torch.isfinite(scores.amax(-1)))
            return scores
        chosen, finite = choose(scores, self.sampling, self.draws[self.step])
        self.finite.logical_and_(finite)
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)


class _Mark(StoppingCriteria):
    """Never stops; tells the measurement that one more token has been submitted."""

    def __init__(self, mark: Callable[[], None] | None) -> None:
        self.mark = mark

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        if self.mark:
            self.mark()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def _unloadable(model_dir: Path, error: Exception) -> EngineError:
    return EngineError(
        f"model directory {model_dir}",
        seen=str(error).splitlines()[0],
        expected="what AutoModelForCausalLM reads",
        remedy="Build it again with `snakemake -c1 assemble`.",
    )
