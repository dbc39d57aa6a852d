"""Random GPT-2s as checkpoints read from Megatron, of every row order and number of ranks."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.model import Checkpoint
from megaport.checkpoint.open import open_checkpoint
from megaport.convert.convert import convert_checkpoint
from megaport.gpt2 import GPT2 as TABLE
from megaport.parity.inputs import ParityOptions
from megaport.parity.reference import Reference
from megaport.parity.references import reference_of
from megaport.table import Architecture, Table
from megaport.tensors import STORAGE, Array, Tensor
from support.checkout import ROOT
from support.oracles import Oracle

GPT2 = ROOT / "resources" / "gpt2"
TEXT = ROOT / "resources" / "parity" / "text.txt"
PUBLISHED = TEXT.with_name("gpt2_ids.json")
OPTIONS = ParityOptions(text=TEXT, device="cpu", dtypes=())
SPLIT_ROWS = ("query_key_value", "dense_h_to_4h", "word_embeddings", "output_layer")
SPLIT_COLUMNS = ("attention.dense.weight", "dense_4h_to_h.weight")


@dataclass(frozen=True)
class Size:
    layers: int = 3
    heads: int = 4
    hidden: int = 32
    positions: int = 24
    vocab: int = 101
    padded: int = 128


def random_gpt2(
    *,
    order: str = "3,np,hn",
    ranks: int = 1,
    untied: bool = False,
    dtype: str = "F32",
    activation: str = "gelu_new",
    size: Size = Size(),
    seed: int = 0,
) -> Reference:
    """A model whose every part matters: norms and biases are as random as the matrices.

    A file of random rows is a model in any row order, so only the numbers of ranks and the name of
    the order differ between cases.
    """
    rng = np.random.default_rng(seed)
    whole = {
        name: _draw(rng, name, shape).astype(STORAGE[dtype])
        for name, shape in shapes(size, untied=untied).items()
    }
    tensors = {name: _split(name, array, ranks, dtype) for name, array in whole.items()}
    checkpoint = as_read(
        TABLE,
        tensors,
        layers=size.layers,
        ranks=ranks,
        family="legacy_ranks",
        serialization="legacy",
        version={"3,np,hn": None, "np,hn,3": 1.0, "np,3,hn": 3.0}[order],
        qkv_order=order,
    )
    torch_name = {"F32": "float32", "F16": "float16"}[dtype]
    return reference_of(checkpoint, _architecture(size, untied, activation, torch_name))


def as_read(
    table: Table,
    tensors: Mapping[str, tuple[Tensor, ...]],
    *,
    layers: int,
    ranks: int,
    **facts: Any,
) -> Checkpoint:
    """What the reader would give: `tensors` of `ranks` ranks, without args, and other `facts`."""
    return Checkpoint(
        table=table,
        era="a random model",
        tensor_parallel=ranks,
        pipeline_parallel=1,
        virtual_pipeline=1,
        args=None,
        iteration=None,
        layers=layers,
        tensors=tensors,
        ignored=(),
        decisions=(),
        **facts,
    )


def convert(subject: Reference, out: Path, *, dtype: str | None = None) -> Path:
    """The model directory the project's own converter makes of it, without a tokenizer."""
    convert_checkpoint(
        subject.checkpoint, subject.architecture, out, dtype=dtype, max_shard_size=None
    )
    return out


def read_oracle(oracle: Oracle, spool: Path) -> Reference:
    checkpoint = open_checkpoint(oracle.path, version=oracle.version, spool=spool)
    return reference_of(checkpoint, describe_architecture(checkpoint, oracle.architecture))


def shapes(size: Size, *, untied: bool) -> dict[str, tuple[int, ...]]:
    h, inner = size.hidden, 4 * size.hidden
    layer = {
        "input_layernorm.weight": (h,),
        "input_layernorm.bias": (h,),
        "attention.query_key_value.weight": (3 * h, h),
        "attention.query_key_value.bias": (3 * h,),
        "attention.dense.weight": (h, h),
        "attention.dense.bias": (h,),
        "post_attention_layernorm.weight": (h,),
        "post_attention_layernorm.bias": (h,),
        "mlp.dense_h_to_4h.weight": (inner, h),
        "mlp.dense_h_to_4h.bias": (inner,),
        "mlp.dense_4h_to_h.weight": (h, inner),
        "mlp.dense_4h_to_h.bias": (h,),
    }
    return {
        "word_embeddings.weight": (size.padded, h),
        "position_embeddings.weight": (size.positions, h),
        **{f"layers.{n}.{name}": s for n in range(size.layers) for name, s in layer.items()},
        "final_layernorm.weight": (h,),
        "final_layernorm.bias": (h,),
        **({"output_layer.weight": (size.padded, h)} if untied else {}),
    }


def _draw(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Array:
    if name.endswith("layernorm.weight"):
        return rng.uniform(0.4, 1.6, shape)
    width = 0.3 if "layernorm" in name or len(shape) == 1 else 0.6 / np.sqrt(shape[-1] / 32)
    return rng.normal(0, width / 3, shape)


def _split(name: str, array: Array, ranks: int, dtype: str) -> tuple[Tensor, ...]:
    if ranks > 1 and any(part in name for part in SPLIT_ROWS):
        return tuple(Tensor(dtype, part) for part in np.split(array, ranks, axis=0))
    if ranks > 1 and name.endswith(SPLIT_COLUMNS):
        return tuple(Tensor(dtype, part) for part in np.split(array, ranks, axis=1))
    return (Tensor(dtype, array),)


def _architecture(size: Size, untied: bool, activation: str, dtype: str) -> Architecture:
    return Architecture(
        n_layer=size.layers,
        n_head=size.heads,
        n_embd=size.hidden,
        n_inner=4 * size.hidden,
        n_positions=size.positions,
        vocab_size=size.vocab,
        padded_vocab_size=size.padded,
        activation_function=activation,
        layer_norm_epsilon=1e-5,
        tie_word_embeddings=not untied,
        layernorm_1p=False,
        dtype=dtype,
        decisions=(),
    )


def with_tokenizer(model: Path) -> Path:
    """The model directory `model`, with GPT-2's vocabulary and merges in it."""
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(GPT2 / name, model / name)
    return model
