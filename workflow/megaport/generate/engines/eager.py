"""transformers' `model.generate`, as the model card has it: the reference for all others."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.generation.logits_process import LogitsProcessor, LogitsProcessorList
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList

from megaport.generate.device import Placement
from megaport.generate.engines.base import (
    Batch,
    EngineError,
    check_length,
    finish,
    non_finite,
    out_of_memory,
)
from megaport.generate.sampling import choose, uniforms


class EagerEngine:
    """A GPT2LMHeadModel and its own generation loop."""

    name = "eager"
    in_stream = True
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed, only overridden

    def __init__(self, model: Any, placement: Placement, note: str = "model.generate") -> None:
        self.model, self.placement, self.note = model, placement, note

    @classmethod
    def load(cls, model_dir: Path, placement: Placement) -> Self:
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(
                model_dir, dtype=placement.torch_dtype, local_files_only=True
            )
            model = model.to(placement.device).eval()
        except torch.OutOfMemoryError as error:
            raise out_of_memory(f"engine {cls.name}", placement.device, error) from error
        except (OSError, ValueError, SafetensorError) as error:
            raise _unloadable(model_dir, error) from error
        # Only what a batch says counts: a stop token of the model's own would cut measurements.
        model.generation_config = GenerationConfig(pad_token_id=0)
        return cls(model, placement)

    @torch.inference_mode()
    def generate(self, batch: Batch) -> list[list[int]]:
        self._check(batch)
        watch = _Watch(batch, self.placement.device)
        with _clear_errors(self.name, batch, self.placement.device):
            ids, seen = _padded(batch, self.placement.device)
            whole = self.model.generate(
                ids,
                attention_mask=seen,
                generation_config=GenerationConfig(
                    max_new_tokens=batch.steps,
                    do_sample=False,
                    eos_token_id=batch.stop,
                    pad_token_id=0,
                    **self.options,
                ),
                logits_processor=LogitsProcessorList([watch]),
                stopping_criteria=StoppingCriteriaList([_Mark(batch)]),
            )
        if not watch.finite.all():
            raise non_finite(self.name, self.placement.dtype)
        return finish(batch, whole[:, batch.width :].tolist())

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

    def __init__(self, batch: Batch) -> None:
        self.mark = batch.mark
        self.rows = len(batch.prompts)

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        if self.mark:
            self.mark()
        return torch.zeros(self.rows, dtype=torch.bool, device=input_ids.device)


def _padded(batch: Batch, device: str) -> tuple[Tensor, Tensor]:
    pads = [batch.width - len(prompt) for prompt in batch.prompts]
    rows = [[0] * pad + list(prompt) for pad, prompt in zip(pads, batch.prompts, strict=True)]
    seen = [[0] * pad + [1] * (batch.width - pad) for pad in pads]
    return torch.tensor(rows, device=device), torch.tensor(seen, device=device)


@contextmanager
def _clear_errors(name: str, batch: Batch, device: str) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        what = f"engine {name}, {len(batch.prompts)} rows of {batch.max_length} tokens"
        raise out_of_memory(what, device, error) from error


def _unloadable(model_dir: Path, error: Exception) -> EngineError:
    return EngineError(
        f"model directory {model_dir}",
        seen=str(error).splitlines()[0],
        expected="what AutoModelForCausalLM reads",
        remedy="Build it again with `snakemake -c1 assemble`.",
    )
