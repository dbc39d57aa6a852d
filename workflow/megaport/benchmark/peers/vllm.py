"""vLLM's offline engine on CUDA: end-to-end times only, as it tells nothing token by token."""

from pathlib import Path
from typing import Any, Self

from megaport.benchmark.peers.refusal import refusal, require_greedy
from megaport.generate.device import Placement
from megaport.generate.engines.base import Job, finish

# The rest stays free for the engines measured beside it in the same process.
MEMORY_FRACTION = 0.4


def available() -> str:
    """Empty where it can run, else why not."""
    try:
        import vllm  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        return f"{error}; pip install vllm on a machine with CUDA"
    return ""


class VllmEngine:
    """An `LLM` that takes and gives token ids."""

    name = "vllm"
    in_stream = False

    def __init__(self, model: Any, note: str) -> None:
        self.model, self.note = model, note

    @classmethod
    def load(cls, model_dir: Path, placement: Placement) -> Self:
        if placement.device != "cuda":
            raise refusal(cls.name, f"device {placement.device}; its PyPI build needs CUDA")
        if missing := available():
            raise refusal(cls.name, missing)
        import vllm

        model = vllm.LLM(
            model=str(model_dir),
            dtype=placement.dtype,
            skip_tokenizer_init=True,
            gpu_memory_utilization=MEMORY_FRACTION,
            enable_prefix_caching=False,
            seed=0,
        )
        return cls(model, f"vllm {vllm.__version__}")

    def generate(self, job: Job) -> list[list[int]]:
        require_greedy(self.name, job)
        import vllm

        params = vllm.SamplingParams(
            temperature=0.0, max_tokens=job.steps, ignore_eos=True, detokenize=False
        )
        prompts = [{"prompt_token_ids": list(prompt)} for prompt in job.prompts]
        outputs = self.model.generate(prompts, params, use_tqdm=False)
        return finish(job, [list(output.outputs[0].token_ids) for output in outputs])
