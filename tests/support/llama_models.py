"""Random and trained Llamas as checkpoints read from Megatron core, of any groups and ranks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from megaport.checkpoint.model import Checkpoint
from megaport.convert.convert import convert_checkpoint
from megaport.convert.model_dir import assemble_model
from megaport.convert.tokenizer import PUBLISHED, TokenizerFiles
from megaport.llama import LLAMA
from megaport.parity.reference import Reference
from megaport.parity.references import reference_of
from megaport.table import Architecture
from megaport.tensors import Array, Tensor

GPT2 = TokenizerFiles(Path(__file__).resolve().parents[2] / "resources" / "gpt2", PUBLISHED)
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


@dataclass(frozen=True)
class Shape:
    """What is varied; the rest is small and no two sizes are equal."""

    model_type: str = "llama"
    groups: int = 2
    head_size: int = 8
    ranks: int = 1
    untied: bool = False
    layers: int = 2
    heads: int = 4
    hidden: int = 24
    inner: int = 40
    vocab: int = 101
    padded: int = 128
    positions: int = 48


def random_llama(shape: Shape = Shape(), *, seed: int = 0, **architecture: object) -> Reference:
    """Every part matters: norms and biases are as random as the matrices."""
    return as_read(_whole(np.random.default_rng(seed), shape), shape, **architecture)


def as_read(whole: dict[str, Array], shape: Shape, **architecture: object) -> Reference:
    """A model's joined tensors as the reader gives them."""
    tensors = {name: _shards(name, array, shape) for name, array in whole.items()}
    checkpoint = Checkpoint(
        table=LLAMA,
        family="core_ranks",
        era="a random model",
        serialization="zip",
        tensor_parallel=shape.ranks,
        pipeline_parallel=1,
        virtual_pipeline=1,
        version=3.0,
        qkv_order="np,3,hn",
        args=None,
        iteration=None,
        layers=shape.layers,
        tensors=tensors,
        ignored=(),
        decisions=(),
    )
    said = {"rope_theta": 10_000.0, "rope_scaling": None, "layernorm_1p": False, **architecture}
    return reference_of(
        checkpoint,
        Architecture(
            model_type=shape.model_type,
            n_layer=shape.layers,
            n_head=shape.heads,
            n_group=shape.groups,
            head_size=shape.head_size,
            n_embd=shape.hidden,
            n_inner=shape.inner,
            n_positions=shape.positions,
            vocab_size=shape.vocab,
            padded_vocab_size=shape.padded,
            activation_function="silu",
            layer_norm_epsilon=1e-5,
            tie_word_embeddings=not shape.untied,
            dtype="float32",
            decisions=(),
            **said,
        ),
    )


def trained_llama(shape: Shape, ids: Callable[[int], Array], steps: int) -> Reference:
    """A LlamaForCausalLM after `steps` on batches `ids(n)` [n, S], as Megatron would hold it."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.groups,
        head_dim=shape.head_size,
        max_position_embeddings=shape.positions,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(steps):
        batch = torch.from_numpy(ids(16))
        model(batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    return as_read(dict(_of_megatron(weights, shape)), shape)


def _of_megatron(weights: dict[str, Array], shape: Shape) -> Iterator[tuple[str, Array]]:
    padding = np.zeros((shape.padded - shape.vocab, shape.hidden), "f4")
    yield "word_embeddings.weight", np.concatenate([weights["model.embed_tokens.weight"], padding])
    yield "final_layernorm.weight", weights["model.norm.weight"]
    for n in range(shape.layers):
        layer = {
            name.removeprefix(f"model.layers.{n}.").removesuffix(".weight"): array
            for name, array in weights.items()
        }
        groups = [
            layer[f"self_attn.{part}_proj"].reshape(shape.groups, -1, shape.head_size, shape.hidden)
            for part in "qkv"
        ]
        rows = np.concatenate(groups, axis=1).reshape(-1, shape.hidden)
        yield f"layers.{n}.self_attention.linear_qkv.weight", rows
        fc1 = np.concatenate([layer["mlp.gate_proj"], layer["mlp.up_proj"]])
        yield f"layers.{n}.mlp.linear_fc1.weight", fc1
        for name, source in (
            ("input_layernorm", "input_layernorm"),
            ("pre_mlp_layernorm", "post_attention_layernorm"),
            ("self_attention.linear_proj", "self_attn.o_proj"),
            ("mlp.linear_fc2", "mlp.down_proj"),
        ):
            yield f"layers.{n}.{name}.weight", layer[source]


def _whole(rng: np.random.Generator, shape: Shape) -> dict[str, Array]:
    h, size = shape.hidden, shape.head_size
    rows = (shape.heads + 2 * shape.groups) * size
    layer = {
        "input_layernorm.weight": (h,),
        "self_attention.linear_qkv.weight": (rows, h),
        "self_attention.linear_proj.weight": (h, shape.heads * size),
        "pre_mlp_layernorm.weight": (h,),
        "mlp.linear_fc1.weight": (2 * shape.inner, h),
        "mlp.linear_fc2.weight": (h, shape.inner),
    }
    if shape.model_type == "qwen2":
        layer["self_attention.linear_qkv.bias"] = (rows,)
    if shape.model_type == "qwen3":
        layer |= {f"self_attention.{part}_layernorm.weight": (size,) for part in "qk"}
    shapes = {
        "word_embeddings.weight": (shape.padded, h),
        **{f"layers.{n}.{name}": s for n in range(shape.layers) for name, s in layer.items()},
        "final_layernorm.weight": (h,),
        **({"output_layer.weight": (shape.padded, h)} if shape.untied else {}),
    }
    return {name: _draw(rng, name, s) for name, s in shapes.items()}


def _draw(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Array:
    if name.endswith("layernorm.weight"):
        return rng.uniform(0.4, 1.6, shape).astype("f4")
    return rng.normal(0, 0.2, shape).astype("f4")


def _shards(name: str, array: Array, shape: Shape) -> tuple[Tensor, ...]:
    """As ranks hold it; of linear_fc1 each rank's slice of the gate, then of the up projection."""
    ranks = shape.ranks
    if "linear_fc1" in name:
        gate, up = (np.split(half, ranks) for half in np.split(array, 2))
        parts = [part for pair in zip(gate, up, strict=True) for part in pair]
    elif name.endswith(("linear_proj.weight", "linear_fc2.weight")):
        parts = np.split(array, ranks, axis=1)
    elif "linear_qkv" in name or name in ("word_embeddings.weight", "output_layer.weight"):
        parts = np.split(array, ranks)
    else:
        parts = [array]
    return tuple(Tensor("F32", part) for part in parts)


def assembled_llama(
    shape: Shape, work: Path, *, tokenizer: TokenizerFiles = GPT2, dtype: str | None = None
) -> Path:
    """The model directory of a random Llama, in folder `work`."""
    subject = random_llama(shape)
    convert_checkpoint(
        subject.checkpoint, subject.architecture, work / "c", dtype=dtype, max_shard_size=None
    )
    inspection = {"parameters": 1, "architecture": {}, "checkpoint": {}, "decisions": []}
    provenance = {"name": "tiny", "content": "c", "inspection": inspection}
    assemble_model(work / "c", work / "model", tokenizer=tokenizer, provenance=provenance)
    return work / "model"
