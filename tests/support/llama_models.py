"""Random and trained Llamas as read from Megatron core, of any groups and ranks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from megaport.llama import LLAMA
from megaport.parity.reference import Reference
from megaport.table import Architecture
from megaport.tensors import Array, Tensor
from support.llama_files import Llama
from support.megatron_model import as_tensor
from support.subjects import as_read, convert, read

# Small, and no two equal.
SIZES = {"size": 8, "hidden": 24, "inner": 40, "vocab": 101, "padded": 128}


def random_llama(
    kind: str = "llama", *, ranks: int = 1, positions: int = 48, **fields: Any
) -> Reference:
    """A model of `Llama`'s `fields`, as `ranks` hold it and the reader gives it."""
    classes = {"bias": kind == "qwen2", "norm": kind == "qwen3"}
    model = Llama(**{**SIZES, **classes, **fields})
    tensors = {name: _shards(model, name, ranks) for name in model.tensors}
    numbers = {
        "model_type": kind,
        "n_group": model.groups,
        "head_size": model.size,
        "n_positions": positions,
        "activation_function": "silu",
        "dtype": "float32",
        "rope_theta": 10_000.0,
    }
    facts = {"family": "core_ranks", "serialization": "zip", "qkv_order": "np,3,hn"}
    return as_read(LLAMA, model, tensors, ranks, numbers, version=3.0, **facts)


def trained_llama(
    ids: Callable[[int], Array], steps: int, *, positions: int, **fields: Any
) -> Reference:
    """A LlamaForCausalLM after `steps` on batches `ids(n)` [n, S], as Megatron would hold it."""
    torch.manual_seed(0)
    sizes = Llama(**{**SIZES, **fields})
    config = LlamaConfig(
        vocab_size=sizes.vocab,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.inner,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.groups,
        head_dim=sizes.size,
        max_position_embeddings=positions,
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
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    padding = torch.zeros(sizes.padded - sizes.vocab, sizes.hidden)
    words = "model.embed_tokens.weight"
    target = {**weights, words: torch.cat([weights[words], padding])}
    return random_llama(positions=positions, target=target, **fields)


def _shards(model: Llama, name: str, ranks: int) -> tuple[Tensor, ...]:
    """As ranks hold it; of linear_fc1 each rank's slice of the gate, then of the up projection."""
    several = range(ranks if model.axis(name) is not None else 1)
    return tuple(as_tensor(piece) for rank in several for piece in model.slices(name, rank, ranks))


def is_written(model: Llama, out: Path) -> bool:
    """Whether folder `out` holds what a right conversion of `model` writes, bit for bit."""
    found, expected = load_file(out / "model.safetensors"), model.converted()
    return sorted(found) == sorted(expected) and all(
        torch.equal(found[name], tensor) for name, tensor in expected.items()
    )


def converted(path: Path, tmp_path: Path, **overrides: Any) -> tuple[Architecture, Path]:
    subject = read(path, tmp_path, overrides)
    return subject.architecture, convert(subject, tmp_path / "out")
