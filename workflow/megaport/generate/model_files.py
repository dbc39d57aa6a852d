"""A model directory read without transformers: config.json, and GPT-2's safetensors."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from megaport.errors import MegaportError

# GPT2Config activation -> torch's `approximate` argument; the three "new" ones are the tanh form.
GELU = {"gelu": "none", "gelu_new": "tanh", "gelu_fast": "tanh", "gelu_pytorch_tanh": "tanh"}
# Bytes read per token of a model that lies in the caches: one core reads them in milliseconds.
SMALL = 64 * 2**20
# Models whose configuration has LlamaConfig's names.
LLAMAS = ("llama", "mistral", "qwen2", "qwen3")
UNSUPPORTED = ("scale_attn_by_inverse_layer_idx", "add_cross_attention")


class ModelFilesError(MegaportError):
    """A directory that is not a GPT-2 model our engines can run."""


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What texts and measurements must know of any model: `positions` a text may have, the token
    ids it begins and ends with (None: it has none), elements of `weights` that a decode step reads
    at least (all but the lookups in embeddings), and of `keys` and values that a token of context
    adds."""

    positions: int
    vocabulary: int
    bos: int | None
    eos: int | None
    weights: int
    keys: int


@dataclass(frozen=True, kw_only=True)
class Shape(Outline):
    """The sizes of one GPT-2."""

    layers: int
    heads: int
    hidden: int
    inner: int
    gelu: str
    epsilon: float
    tied: bool


def read_outline(model_dir: Path) -> Outline:
    """The Outline of any model the workflow makes. Raises ModelFilesError for others."""
    config = _json(model_dir / "config.json")
    if config.get("model_type") not in LLAMAS:
        return read_shape(model_dir)
    try:
        return _llama(config)
    except KeyError as error:
        raise _unreadable(model_dir / "config.json", f"no {error.args[0]}") from error


def _llama(c: dict[str, Any]) -> Outline:
    """Of Llama and its kin, by LlamaConfig's names; biases and norms of heads are left out."""
    hidden, layers, heads = c["hidden_size"], c["num_hidden_layers"], c["num_attention_heads"]
    size = c.get("head_dim") or hidden // heads
    groups = c.get("num_key_value_heads") or heads
    layer = hidden * size * (2 * heads + 2 * groups) + 3 * hidden * c["intermediate_size"]
    return Outline(
        positions=c["max_position_embeddings"],
        vocabulary=c["vocab_size"],
        bos=c.get("bos_token_id"),
        eos=_first(c.get("eos_token_id")),
        weights=layers * (layer + 2 * hidden) + hidden + c["vocab_size"] * hidden,
        keys=2 * layers * groups * size,
    )


def _first(ids: int | list[int] | None) -> int | None:
    return ids[0] if isinstance(ids, list) else ids


def read_shape(model_dir: Path) -> Shape:
    """The Shape in config.json. Raises ModelFilesError naming what GPT-2 it is not."""
    config = _json(model_dir / "config.json")
    _refuse_unsupported(config)
    h, layers, rows = config["n_embd"], config["n_layer"], config["vocab_size"]
    i = config.get("n_inner") or 4 * h
    layer = 4 * h + (3 * h * h + 3 * h) + (h * h + h) + (2 * h * i + i + h)
    return Shape(
        layers=layers,
        heads=config["n_head"],
        hidden=h,
        inner=i,
        positions=config["n_positions"],
        vocabulary=rows,
        gelu=GELU[config.get("activation_function", "gelu_new")],
        epsilon=config.get("layer_norm_epsilon", 1e-5),
        tied=config.get("tie_word_embeddings", True),
        bos=config.get("bos_token_id"),
        eos=config.get("eos_token_id"),
        weights=layers * layer + 2 * h + rows * h,
        keys=2 * layers * h,
    )


def read_weights(model_dir: Path) -> dict[str, Tensor]:
    """Every tensor by its GPT-2 name without `transformer.`, in the dtype stored."""
    index = model_dir / "model.safetensors.index.json"
    names = sorted(set(_json(index)["weight_map"].values())) if index.is_file() else []
    weights: dict[str, Tensor] = {}
    for name in names or ["model.safetensors"]:
        try:
            weights.update(load_file(model_dir / name))
        except (OSError, SafetensorError) as error:
            raise _unreadable(model_dir / name, str(error)) from error
    return {name.removeprefix("transformer."): tensor for name, tensor in weights.items()}


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    if not isinstance(content, dict):
        raise _unreadable(path, f"a {type(content).__name__}")
    return content


def _refuse_unsupported(config: dict[str, Any]) -> None:
    wanted = {"model_type": "gpt2", **dict.fromkeys(UNSUPPORTED, False)}
    seen = {key: config[key] for key, value in wanted.items() if config.get(key, value) != value}
    missing = {"n_layer", "n_head", "n_embd", "n_positions", "vocab_size"} - set(config)
    if config.get("activation_function", "gelu_new") not in GELU:
        seen["activation_function"] = config["activation_function"]
    seen |= dict.fromkeys(sorted(missing), "absent")
    if seen:
        raise ModelFilesError(
            "config.json",
            seen=", ".join(f"{key} {value}" for key, value in seen.items()),
            expected=f"a GPT-2, which is all that `fast` knows, with one of {', '.join(GELU)}",
            remedy="Use `engine: eager` or `engine: static`, which know what transformers knows.",
        )


def _unreadable(path: Path, why: str) -> ModelFilesError:
    return ModelFilesError(
        path.name,
        seen=why,
        expected="a file of a Hugging Face model directory",
        remedy="Build the directory again with `snakemake -c1 assemble`.",
    )
