"""CTranslate2, from a specification filled with the model's tensors (its TransformerDecoder)."""

import tempfile
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from megaport.benchmark.peers.refusal import refusal, require_greedy
from megaport.generate.device import Placement
from megaport.generate.engines.base import Job, finish
from megaport.generate.hardware import core_count
from megaport.generate.model_files import Shape, read_shape, read_weights


def available() -> str:
    """Empty where it can run, else why not."""
    try:
        import ctranslate2  # noqa: F401
    except (ImportError, OSError) as error:
        return f"{error}; pip install ctranslate2"
    return ""


class CTranslate2Engine:
    """A Generator; tokens are known to it by their number written out."""

    name = "ctranslate2"
    in_stream = False

    def __init__(self, generator: Any, note: str) -> None:
        self.generator, self.note = generator, note

    @classmethod
    def load(cls, model_dir: Path, placement: Placement) -> Self:
        if missing := available():
            raise refusal(cls.name, missing)
        import ctranslate2

        known = ctranslate2.get_supported_compute_types(placement.device)
        if placement.dtype not in known:
            seen = f"no {placement.dtype} on {placement.device}, only {', '.join(sorted(known))}"
            raise refusal(cls.name, seen)
        with tempfile.TemporaryDirectory() as folder:
            _write_model(model_dir, folder)
            generator = ctranslate2.Generator(
                folder,
                device=placement.device,
                compute_type=placement.dtype,
                intra_threads=core_count(),
            )
        return cls(generator, f"ctranslate2 {ctranslate2.__version__}")

    def generate(self, job: Job) -> list[list[int]]:
        require_greedy(self.name, job)
        if len({len(prompt) for prompt in job.prompts}) > 1:
            raise refusal(self.name, "prompts of unequal length")
        steps = _Steps(job)
        results = self.generator.generate_batch(
            [[str(token) for token in prompt] for prompt in job.prompts],
            max_length=job.steps,
            min_length=job.steps,
            end_token=[],
            sampling_topk=1,
            include_prompt_in_result=False,
            callback=steps,
        )
        return finish(job, [[int(token) for token in r.sequences[0]] for r in results])


class _Steps:
    """Called for every row's token: marks each step once. Never asks to stop."""

    def __init__(self, job: Job) -> None:
        self.mark, self.seen = job.mark, -1

    def __call__(self, result: Any) -> bool:
        if self.mark and result.step > self.seen:
            self.seen = result.step
            self.mark()
        return False


def _write_model(model_dir: Path, folder: str) -> None:
    from ctranslate2.specs import common_spec, transformer_spec

    shape, weights = read_shape(model_dir), read_weights(model_dir)
    activations = common_spec.Activation
    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        shape.layers,
        shape.heads,
        pre_norm=True,
        activation=activations.GELUTanh if shape.gelu == "tanh" else activations.GELU,
    )
    _fill(spec.decoder, shape, weights)
    spec.config.layer_norm_epsilon = shape.epsilon
    spec.config.bos_token = spec.config.eos_token = spec.config.unk_token = "0"
    spec.register_vocabulary([str(token) for token in range(shape.vocabulary)])
    spec.validate()
    spec.optimize()
    spec.save(folder)


def _fill(decoder: Any, shape: Shape, weights: dict[str, Tensor]) -> None:
    def take(name: str) -> Any:
        return weights[name].float().contiguous().numpy()

    def linear(spec: Any, name: str) -> None:
        spec.weight = weights[f"{name}.weight"].t().float().contiguous().numpy()
        spec.bias = take(f"{name}.bias")

    def norm(spec: Any, name: str) -> None:
        spec.gamma, spec.beta = take(f"{name}.weight"), take(f"{name}.bias")

    decoder.scale_embeddings = False
    decoder.embeddings.weight = take("wte.weight")
    decoder.position_encodings.encodings = take("wpe.weight")
    decoder.projection.weight = take("wte.weight" if shape.tied else "lm_head.weight")
    norm(decoder.layer_norm, "ln_f")
    for number, layer in enumerate(decoder.layer):
        norm(layer.self_attention.layer_norm, f"h.{number}.ln_1")
        linear(layer.self_attention.linear[0], f"h.{number}.attn.c_attn")
        linear(layer.self_attention.linear[1], f"h.{number}.attn.c_proj")
        norm(layer.ffn.layer_norm, f"h.{number}.ln_2")
        linear(layer.ffn.linear_0, f"h.{number}.mlp.c_fc")
        linear(layer.ffn.linear_1, f"h.{number}.mlp.c_proj")
