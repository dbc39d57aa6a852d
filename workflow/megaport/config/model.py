"""What a configuration may say: keys, types, defaults. config.yaml explains each of them."""

import os
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from megaport.errors import MegaportError


class ConfigError(MegaportError):
    """config.yaml, a --configfile or --config says something the workflow does not understand."""


def expanded(path: str) -> str:
    """With ~ and $HOME as a shell reads them, which passes them on as they are behind a `=`."""
    return os.path.expandvars(os.path.expanduser(path))  # noqa: PTH111 (raises for ~nobody)


File = Annotated[str, AfterValidator(expanded)]
# "null" comes as text from --config, and would pass for a file's name.
NoFile = Annotated[File | None, BeforeValidator(lambda value: None if value == "null" else value)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Url = Annotated[str, StringConstraints(pattern=r"^(https?|file)://")]
Device = Literal["auto", "cuda", "cpu"]
Dtype = Literal["auto", "float16", "bfloat16", "float32"]
Activation = Literal["gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu"]
Epsilon = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class CheckpointKeys(Strict):
    """Where a checkpoint comes from and how its bytes are known.

    A path is taken before URLs: a --configfile merges, and cannot take them away.
    """

    path: NoFile = None
    urls: list[Url] = []
    sha256: Sha256 | None = None
    version: Literal[0, 1, 2, 3] | None = None

    @model_validator(mode="after")
    def _a_source(self) -> Self:
        if not self.path and not self.urls:
            raise ValueError("give `path` or `urls`")
        return self


class ArchitectureKeys(Strict):
    """Overrides what the checkpoint says, in the words of GPT2Config, or of LlamaConfig and kin.

    Which of them a model has is known once it is read: the reader refuses the others.
    """

    n_head: Positive | None = None
    n_positions: Positive | None = None
    vocab_size: Positive | None = None
    activation_function: Activation | None = None
    layer_norm_epsilon: Epsilon | None = None
    tie_word_embeddings: bool | None = None
    model_type: Literal["llama", "mistral", "qwen2", "qwen3"] | None = None
    num_attention_heads: Positive | None = None
    num_key_value_heads: Positive | None = None
    head_dim: Positive | None = None
    max_position_embeddings: Positive | None = None
    rope_theta: Annotated[float, Field(gt=1)] | None = None
    rope_scaling_factor: Annotated[float, Field(gt=0)] | None = None
    sliding_window: Positive | None = None
    rms_norm_eps: Epsilon | None = None


class Prompt(Strict):
    """One request for text: from `prompt`, from `token_ids`, or from the token that begins a text.

    `max_length` counts the prompt, as in the model card. With `do_sample` the returned sequences
    use seeds `seed`, `seed + 1`, ...
    """

    prompt: Annotated[str, Field(min_length=1)] | None = None
    token_ids: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    max_length: Annotated[int, Field(ge=2)] | None = None
    do_sample: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    num_return_sequences: Positive = 1

    @model_validator(mode="after")
    def _one_prompt(self) -> Self:
        if self.prompt is not None and self.token_ids is not None:
            raise ValueError("give `prompt` or `token_ids`, not both")
        if self.num_return_sequences > 1 and not self.do_sample:
            raise ValueError("greedy sequences would all be the same: do_sample: true, or one")
        return self


class Model(Strict):
    """One model: a checkpoint and what it does not say itself."""

    checkpoint: CheckpointKeys
    architecture: ArchitectureKeys = ArchitectureKeys()
    tokenizer: NoFile = "gpt2"
    golden: NoFile = None
    dtype: Literal["float16", "bfloat16", "float32"] | None = None
    max_shard_size: Positive | None = None
    prompts: list[Prompt] | None = None


class Download(Strict):
    max_bytes: Positive = 20_000_000_000
    max_seconds: Positive = 14_400
    retries: Annotated[int, Field(ge=0)] = 4


class Generate(Strict):
    device: Device = "auto"
    dtype: Dtype = "auto"
    engine: Literal["eager", "static", "fast"] = "eager"
    max_length: Positive = 32
    prompts: list[Prompt] = [Prompt()]
    prompts_file: NoFile = None


class Benchmark(Strict):
    device: Device = "auto"
    dtypes: list[Literal["float16", "bfloat16", "float32"]] | None = None
    engines: list[str] = ["eager", "fast"]
    batch_sizes: list[Positive] = [1, 4]
    prompt_lengths: list[Positive] = [1, 32]
    new_tokens: Positive = 32
    repeats: Positive = 3


class Parity(Strict):
    device: Device = "auto"
    dtypes: list[Literal["float16", "bfloat16"]] = ["bfloat16"]
    seed: int = 0


class Export(Strict):
    form: Literal["ngc", "v3", "core"] = "ngc"
    tensor_parallel: Positive = 1
    pipeline_parallel: Positive = 1


class Config(Strict):
    """The whole configuration."""

    model: ModelName | list[ModelName]
    store: File = ".store"
    store_below: list[File] = []
    store_remote: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+://.+")] | None = None
    store_upload: bool = False
    materialize: Literal["auto", "copy", "hardlink", "symlink"] = "auto"
    download: Download = Download()
    generate: Generate = Generate()
    benchmark: Benchmark = Benchmark()
    export: Export = Export()
    parity: Parity = Parity()
    models: dict[ModelName, Model]

    @property
    def names(self) -> list[str]:
        return [self.model] if isinstance(self.model, str) else list(dict.fromkeys(self.model))

    @model_validator(mode="after")
    def _known_models(self) -> Self:
        if "run" in self.models:
            raise ValueError("no model can have the name run: results/run/ is of the machine")
        unknown = [name for name in self.names if name not in self.models]
        if unknown or not self.names:
            known = ", ".join(sorted(self.models))
            raise ValueError(f"`model` names {unknown or 'nothing'}; `models` has {known}")
        return self

    def plain(self) -> dict[str, Any]:
        return self.model_dump(mode="json")
