"""What config.yaml may say. The field descriptions are the comments of config.yaml."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from megaport.config.defaults import MODELS, PROMPTS

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Url = Annotated[str, StringConstraints(pattern=r"^(https?|file)://")]
Device = Literal["auto", "cuda", "cpu"]
Dtype = Literal["auto", "float16", "bfloat16", "float32"]
Positive = Annotated[int, Field(gt=0)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Checkpoint(Strict):
    """Where a checkpoint comes from and how its bytes are known."""

    path: str | None = Field(
        None, description="A zip, a .pt or a checkpoint folder on this machine, read in place."
    )
    urls: list[Url] = Field(
        [], description="Sources tried in order; NGC_API_KEY is sent to NGC hosts where set."
    )
    sha256: Sha256 | None = Field(
        None,
        description="Digest of the inner .pt (of the sorted digest list where there are several "
        "files). null: trusted on first use, recorded, printed, then enforced. Pin it.",
    )
    version: Literal[0, 1, 2, 3] | None = Field(
        None,
        description="Overrides a missing or wrong checkpoint_version (0: [3, np, hn], "
        "1: [np, hn, 3], 2 and 3: [np, 3, hn]). Only needed for unversioned files of "
        "September 2020.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.path) == bool(self.urls):
            raise ValueError("give either `path` or `urls`")
        return self


class Architecture(Strict):
    """GPT2Config's names; overrides what the checkpoint says."""

    n_head: Positive | None = Field(
        None, description="Attention heads; needed where the checkpoint holds no args."
    )
    n_positions: Positive | None = Field(None, description="Rows of the position embedding.")
    vocab_size: Positive | None = Field(
        None, description="Rows to keep of the padded vocabulary; null keeps what the args say."
    )
    activation_function: (
        Literal["gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu"] | None
    ) = Field(None, description="Overrides the GELU inferred from the args and the era.")
    layer_norm_epsilon: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="Overrides the args' epsilon (1e-5 in every GPT-2 seen)."
    )
    tie_word_embeddings: bool | None = Field(
        None, description="Whether the head is the word embedding; read from the tensors."
    )


class Prompt(Strict):
    """One request for text."""

    prompt: str | None = Field(
        None, description="The text to go on from; null: from the start-of-text token."
    )
    token_ids: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, description="The prompt as token ids, for models without a tokenizer."
    )
    max_length: Positive | None = Field(
        None, description="Prompt and text together, in tokens; null: generate.max_length."
    )
    do_sample: bool = Field(False, description="false: greedy; true: sampled with `seed`.")
    seed: int = Field(0, description="Of the sampling; the same seed gives the same text.")
    temperature: Annotated[float, Field(gt=0)] = Field(1.0, description="Divides the logits.")
    top_k: Annotated[int, Field(ge=0)] = Field(0, description="Keep the k likeliest; 0: all.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="Keep the likeliest that add up to this probability."
    )
    num_return_sequences: Positive = Field(1, description="Texts for this prompt.")

    @model_validator(mode="after")
    def _one_prompt(self) -> Self:
        if self.prompt is not None and self.token_ids is not None:
            raise ValueError("give `prompt` or `token_ids`, not both")
        return self


class Model(Strict):
    """One model: a checkpoint and what it does not say itself."""

    checkpoint: Checkpoint = Field(description="Where the bytes come from.")
    architecture: Architecture = Field(
        Architecture(), description="What the checkpoint does not say, or says wrongly."
    )
    tokenizer: Literal["gpt2"] | None = Field(
        "gpt2", description="null: no tokenizer files; prompts are then token ids."
    )
    golden: str | None = Field(None, description="A JSON file of published logits for parity.")
    dtype: Literal["float16", "bfloat16", "float32"] | None = Field(
        None, description="null keeps the checkpoint's dtype."
    )
    max_shard_size: Positive | None = Field(
        None, description="Bytes a safetensors file may have; null: one file."
    )
    prompts: list[Prompt] | None = Field(None, description="Instead of generate.prompts.")


class Download(Strict):
    max_bytes: Positive = Field(
        20_000_000_000, description="A body larger than this is refused. Raise for larger models."
    )
    max_seconds: Positive = Field(
        14_400, description="Time for one source. Raise on a slow line; downloads resume."
    )
    retries: Annotated[int, Field(ge=0)] = Field(4, description="Tries after the first, a source.")


class Generate(Strict):
    device: Device = Field("auto", description="cuda where there is one; `cuda` insists on it.")
    dtype: Dtype = Field(
        "auto", description="float16 on CUDA; on a CPU bfloat16 where it is fast, else float32."
    )
    engine: Literal["eager", "static", "fast"] = Field(
        "eager", description="How tokens are made; `benchmark` tells which is fastest here."
    )
    max_length: Positive = Field(32, description="Prompt and text together (the model card's 32).")
    prompts: list[Prompt] = Field(
        [Prompt.model_validate(prompt) for prompt in PROMPTS],
        description="What to generate for every model that has no `prompts` of its own.",
    )
    prompts_file: str | None = Field(
        None, description="A .txt (a prompt a line) or .jsonl file, instead of `prompts`."
    )


class Benchmark(Strict):
    device: Device = Field("auto", description="As generate.device.")
    dtypes: list[Literal["float16", "bfloat16", "float32"]] | None = Field(
        None, description="null: what is fast on the device."
    )
    engines: list[str] = Field(
        ["eager", "fast"],
        description="Also static (compiles for minutes), and llamacpp, ctranslate2, vllm where "
        "these are installed.",
    )
    batch_sizes: list[Positive] = Field([1, 4], description="Up to what the memory holds.")
    prompt_lengths: list[Positive] = Field([1, 32], description="In tokens.")
    new_tokens: Positive = Field(32, description="Decoded a measurement.")
    repeats: Positive = Field(3, description="Measurements a point; more narrows the interval.")


class Parity(Strict):
    device: Device = Field("auto", description="Where the converted model runs.")
    dtypes: list[Literal["float16", "bfloat16"]] = Field(
        ["bfloat16"], description="Compared with float32 on the device."
    )
    seed: int = Field(0, description="Of the random token ids.")


class Export(Strict):
    form: Literal["ngc", "v3", "core"] = Field(
        "ngc",
        description="ngc: a zip like NVIDIA's 345M; v3: rank files of Megatron-LM since 2021; "
        "core: of Megatron core.",
    )
    tensor_parallel: Positive = Field(1, description="Ranks a layer is cut into (v3, core).")
    pipeline_parallel: Positive = Field(1, description="Stages of layers (v3, core).")


class Sign(Strict):
    private_key: str | None = Field(
        None,
        description="A PEM file; the password of an encrypted one is read from "
        "SIGNING_KEY_PASSWORD.",
    )
    public_key: str | None = Field(None, description="Its public half, to hand on with the model.")

    @model_validator(mode="after")
    def _a_pair(self) -> Self:
        if bool(self.private_key) != bool(self.public_key):
            raise ValueError("give both `private_key` and `public_key`, or neither")
        return self


class Config(Strict):
    """The whole configuration."""

    model: ModelName | list[ModelName] = Field(
        "austen-tiny", description="What the named targets build: one name, or a list."
    )
    store: str = Field(
        ".store",
        description="Where content lives. Share it between checkouts, or between people: an "
        "absolute path, or one relative to the working directory.",
    )
    store_below: list[str] = Field(
        [], description="Stores to read from and never write to, such as one for the whole machine."
    )
    store_remote: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+://.+")] | None = Field(
        None,
        description="A store elsewhere that colleagues share, s3://bucket/folder (pip install "
        "s3fs). Whoever may write to it is trusted.",
    )
    store_upload: bool = Field(
        False, description="Whether what is built here goes to store_remote as well."
    )
    materialize: Literal["auto", "copy", "hardlink", "symlink"] = Field(
        "auto",
        description="How model/ shows its files. auto: reflinks where the file system has them, "
        "else copies; hard links and symlinks save space, but then the files are read-only.",
    )
    download: Download = Field(Download(), description="Limits of a download.")
    generate: Generate = Field(Generate(), description="How text is generated.")
    benchmark: Benchmark = Field(Benchmark(), description="What `benchmark` measures.")
    export: Export = Field(Export(), description="The Megatron checkpoint that `export` writes.")
    sign: Sign = Field(
        Sign(),
        description="The EC key pair that signs model/ (pip install model-signing pyopenssl); with "
        "one, `all` signs as well.",
    )
    parity: Parity = Field(Parity(), description="How `parity` compares.")
    models: dict[ModelName, Model] = Field(
        {name: Model.model_validate(model) for name, model in MODELS.items()},
        description="Every model the workflow can build, by name.",
    )

    @property
    def names(self) -> list[str]:
        return [self.model] if isinstance(self.model, str) else list(dict.fromkeys(self.model))

    @model_validator(mode="after")
    def _known_models(self) -> Self:
        unknown = [name for name in self.names if name not in self.models]
        if unknown or not self.names:
            known = ", ".join(sorted(self.models))
            raise ValueError(f"`model` names {unknown or 'nothing'}; `models` has {known}")
        return self

    def plain(self) -> dict[str, Any]:
        return self.model_dump(mode="json")
