"""A GPT-2 model directory read without transformers: config.json and safetensors."""

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
UNSUPPORTED = ("scale_attn_by_inverse_layer_idx", "add_cross_attention")


class ModelFilesError(MegaportError):
    """A directory that is not a GPT-2 model our engines can run."""


@dataclass(frozen=True)
class Shape:
    """The sizes of one GPT-2, and the token ids it starts and ends with (None: it has none)."""

    layers: int
    heads: int
    hidden: int
    inner: int
    positions: int
    vocabulary: int
    gelu: str
    epsilon: float
    tied: bool
    bos: int | None
    eos: int | None

    def kv_bytes(self, itemsize: int) -> int:
        """Bytes of keys and values for one token of context."""
        return 2 * self.layers * self.hidden * itemsize

    def weight_bytes(self, itemsize: int) -> int:
        """Bytes of weights that one decode step must read: all but the lookups in embeddings."""
        h, i = self.hidden, self.inner
        layer = 4 * h + (3 * h * h + 3 * h) + (h * h + h) + (2 * h * i + i + h)
        return (self.layers * layer + 2 * h + self.vocabulary * h) * itemsize


def read_shape(model_dir: Path) -> Shape:
    """The Shape in config.json. Raises ModelFilesError naming what GPT-2 it is not."""
    config = _json(model_dir / "config.json")
    _refuse_unsupported(config)
    return Shape(
        layers=config["n_layer"],
        heads=config["n_head"],
        hidden=config["n_embd"],
        inner=config.get("n_inner") or 4 * config["n_embd"],
        positions=config["n_positions"],
        vocabulary=config["vocab_size"],
        gelu=GELU[config.get("activation_function", "gelu_new")],
        epsilon=config.get("layer_norm_epsilon", 1e-5),
        tied=config.get("tie_word_embeddings", True),
        bos=config.get("bos_token_id"),
        eos=config.get("eos_token_id"),
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
            expected=f"a GPT-2 with one of {', '.join(GELU)}, no cross attention",
            remedy="Use the model/ directory that `assemble` made, or `engine: eager`.",
        )


def _unreadable(path: Path, why: str) -> ModelFilesError:
    return ModelFilesError(
        path.name,
        seen=why,
        expected="a file of a Hugging Face model directory",
        remedy="Build the directory again with `snakemake -c1 assemble`.",
    )
