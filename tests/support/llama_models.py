"""Random and trained Llamas as checkpoints read from Megatron core, of any groups and ranks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from megaport.convert.model_dir import assemble_model
from megaport.convert.tokenizer import PUBLISHED, TokenizerFiles
from megaport.llama import LLAMA
from megaport.parity.reference import Reference
from megaport.parity.references import reference_of
from megaport.table import Architecture
from megaport.tensors import Array, Tensor
from support.checkout import ROOT
from support.llama_files import Llama, axis_of, slices
from support.parity_models import as_read, convert

GPT2 = TokenizerFiles(ROOT / "resources" / "gpt2", PUBLISHED)
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
    return _read(shape, {}, seed, **architecture)


def _read(
    shape: Shape, target: dict[str, torch.Tensor], seed: int = 0, **architecture: object
) -> Reference:
    """The model of these tensors, or of random ones, as the reader gives it."""
    model = Llama(
        layers=shape.layers,
        heads=shape.heads,
        groups=shape.groups,
        size=shape.head_size,
        hidden=shape.hidden,
        inner=shape.inner,
        padded=shape.padded,
        vocab=shape.vocab,
        bias=shape.model_type == "qwen2",
        norm=shape.model_type == "qwen3",
        untied=shape.untied,
        seed=seed,
        target=target,
    )
    checkpoint = as_read(
        LLAMA,
        {name: _shards(name, parts, shape.ranks) for name, parts in _canonical(model)},
        layers=shape.layers,
        ranks=shape.ranks,
        family="core_ranks",
        serialization="zip",
        version=3.0,
        qkv_order="np,3,hn",
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
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    embedding = weights["model.embed_tokens.weight"]
    padding = torch.zeros(shape.padded - shape.vocab, shape.hidden)
    return _read(shape, {**weights, "model.embed_tokens.weight": torch.cat([embedding, padding])})


def _canonical(model: Llama) -> Iterator[tuple[str, list[torch.Tensor]]]:
    """The table's names, and the parts that each tensor consists of."""
    for name, parts in model.ends().items():
        yield name.removeprefix("embedding.").removeprefix("decoder."), parts
    for n in range(model.layers):
        for leaf, parts in model.layer(n, fused=False).items():
            yield f"layers.{n}.{leaf}", parts


def _shards(name: str, parts: list[torch.Tensor], ranks: int) -> tuple[Tensor, ...]:
    """As ranks hold it; of linear_fc1 each rank's slice of the gate, then of the up projection."""
    held = (
        parts
        if axis_of(name) is None
        else [piece for rank in range(ranks) for piece in slices(name, parts, rank, ranks)]
    )
    return tuple(Tensor("F32", piece.numpy()) for piece in held)


def assembled_llama(
    shape: Shape, work: Path, *, tokenizer: TokenizerFiles = GPT2, dtype: str | None = None
) -> Path:
    """The model directory of a random Llama, in folder `work`."""
    subject = random_llama(shape)
    convert(subject, work / "c", dtype=dtype)
    inspection = {"parameters": 1, "architecture": {}, "checkpoint": {}, "decisions": []}
    provenance = {"name": "tiny", "content": "c", "inspection": inspection}
    assemble_model(work / "c", work / "model", tokenizer=tokenizer, provenance=provenance)
    return work / "model"
