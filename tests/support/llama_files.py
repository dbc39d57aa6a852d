"""Writes tiny Llamas, Qwens and Mistrals as Megatron core keeps them, in every format.

`Llama.target` is what a right conversion must write, by its Hugging Face name; Megatron's tensors
are made from it one row at a time, independently of the converter.
"""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from support import megatron_dist
from support.megatron_files import rank_folder, save

FORMATS = (
    "torch",
    "torch_te",
    "torch_dist",
    "torch_dist_parts",
    "torch_dcp",
    "fsdp_dtensor",
)
# Where tensor parallelism cuts, by the last part of the module's name.
AXES = {"linear_qkv": 0, "linear_fc1": 0, "word_embeddings": 0, "output_layer": 0}
AXES |= {"linear_proj": 1, "linear_fc2": 1}


@dataclass(frozen=True)
class Llama:
    layers: int = 2
    heads: int = 4
    groups: int = 2
    size: int = 4  # of a head
    hidden: int = 16
    inner: int = 12
    padded: int = 16
    vocab: int = 13
    bias: bool = False
    norm: bool = False
    untied: bool = False
    seed: int = 0
    target: dict[str, torch.Tensor] = field(default_factory=dict, compare=False)  # {}: random

    def __post_init__(self) -> None:
        if not self.target:
            object.__setattr__(self, "target", self._random())

    def _random(self) -> dict[str, torch.Tensor]:
        """Every part matters: norms and biases are as random as the matrices."""
        random = torch.Generator().manual_seed(self.seed)

        def draw(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=random) * 0.2

        def norm(size: int) -> torch.Tensor:
            return torch.rand(size, generator=random) * 1.2 + 0.4

        q, k, h, f = self.heads * self.size, self.groups * self.size, self.hidden, self.inner
        made = {"model.embed_tokens.weight": draw(self.padded, h), "model.norm.weight": norm(h)}
        for n in range(self.layers):
            at = f"model.layers.{n}."
            for name, rows in (("q", q), ("k", k), ("v", k)):
                made[f"{at}self_attn.{name}_proj.weight"] = draw(rows, h)
                if self.bias:
                    made[f"{at}self_attn.{name}_proj.bias"] = draw(rows)
            made[f"{at}self_attn.o_proj.weight"] = draw(h, q)
            for name in ("q", "k") if self.norm else ():
                made[f"{at}self_attn.{name}_norm.weight"] = norm(self.size)
            for name in ("gate", "up"):
                made[f"{at}mlp.{name}_proj.weight"] = draw(f, h)
            made[f"{at}mlp.down_proj.weight"] = draw(h, f)
            for name in ("input", "post_attention"):
                made[f"{at}{name}_layernorm.weight"] = norm(h)
        if self.untied:
            made["lm_head.weight"] = draw(self.padded, h)
        return made

    def converted(self) -> dict[str, torch.Tensor]:
        """The target without the rows that pad the vocabulary."""
        vocabulary = ("model.embed_tokens.weight", "lm_head.weight")
        return {n: t[: self.vocab] if n in vocabulary else t for n, t in self.target.items()}

    def args(self, **more: Any) -> dict[str, Any]:
        return {
            "num_layers": self.layers,
            "hidden_size": self.hidden,
            "ffn_hidden_size": self.inner,
            "num_attention_heads": self.heads,
            "group_query_attention": self.groups != self.heads,
            "num_query_groups": self.groups if self.groups != self.heads else 1,
            "kv_channels": self.size,
            "max_position_embeddings": 32,
            "position_embedding_type": "rope",
            "rotary_base": 10_000,
            "rotary_percent": 1.0,
            "add_position_embedding": False,
            "swiglu": True,
            "normalization": "RMSNorm",
            "norm_epsilon": 1e-6,
            "add_bias_linear": False,
            "add_qkv_bias": self.bias,
            "qk_layernorm": self.norm,
            "untie_embeddings_and_output_weights": self.untied,
            "vocab_size": self.vocab,
            "padded_vocab_size": self.padded,
            **more,
        }

    def qkv(self, layer: int, kind: str) -> torch.Tensor:
        """linear_qkv of all ranks: of each group its queries, its key, its value."""
        at = f"model.layers.{layer}.self_attn."
        q, k, v = (self.target[f"{at}{name}_proj.{kind}"].split(self.size) for name in "qkv")
        each = self.heads // self.groups
        rows = [(*q[g * each : (g + 1) * each], k[g], v[g]) for g in range(self.groups)]
        return torch.cat([head for group in rows for head in group])

    def layer(self, n: int, *, fused: bool) -> dict[str, list[torch.Tensor]]:
        """Megatron core's names in a layer, and the parts that each tensor consists of."""
        at = f"model.layers.{n}."
        first, second = (
            ("self_attention.linear_qkv.layer_norm_weight", "mlp.linear_fc1.layer_norm_weight")
            if fused
            else ("input_layernorm.weight", "pre_mlp_layernorm.weight")
        )
        held = {
            first: [self.target[f"{at}input_layernorm.weight"]],
            "self_attention.linear_qkv.weight": [self.qkv(n, "weight")],
            "self_attention.linear_proj.weight": [self.target[f"{at}self_attn.o_proj.weight"]],
            second: [self.target[f"{at}post_attention_layernorm.weight"]],
            "mlp.linear_fc1.weight": [
                self.target[f"{at}mlp.{name}_proj.weight"] for name in ("gate", "up")
            ],
            "mlp.linear_fc2.weight": [self.target[f"{at}mlp.down_proj.weight"]],
        }
        if self.bias:
            held["self_attention.linear_qkv.bias"] = [self.qkv(n, "bias")]
        for name in ("q", "k") if self.norm else ():
            held[f"self_attention.{name}_layernorm.weight"] = [
                self.target[f"{at}self_attn.{name}_norm.weight"]
            ]
        return held

    def ends(self) -> dict[str, list[torch.Tensor]]:
        head = {"output_layer.weight": [self.target["lm_head.weight"]]} if self.untied else {}
        return {
            "embedding.word_embeddings.weight": [self.target["model.embed_tokens.weight"]],
            "decoder.final_layernorm.weight": [self.target["model.norm.weight"]],
            **head,
        }


def axis_of(name: str) -> int | None:
    module = name.split(".")[-2]
    return None if "layer_norm" in name else AXES.get(module)


def slices(name: str, parts: list[torch.Tensor], rank: int, ranks: int) -> list[torch.Tensor]:
    """What a rank holds of each part; the parts themselves where nothing is cut."""
    axis = axis_of(name)
    return parts if axis is None else [part.chunk(ranks, axis)[rank] for part in parts]


def shard(name: str, parts: list[torch.Tensor], rank: int, ranks: int) -> torch.Tensor:
    return torch.cat(slices(name, parts, rank, ranks), axis_of(name) or 0).clone()


def write_llama(
    folder: Path,
    model: Llama,
    form: str,
    *,
    tp: int = 1,
    pp: int = 1,
    vp: int = 1,
    stages: Sequence[int] = (),
    **args: Any,
) -> Path:
    """Write `model` in the format `form` under `folder`; `args` change what the args say.

    `stages` are the layers of each of pp x vp stages, as many in each where not given.
    """
    sizes = {"tensor_model_parallel_size": tp, "pipeline_model_parallel_size": pp}
    sizes["virtual_pipeline_model_parallel_size"] = vp if vp > 1 else None
    common = {
        "args": Namespace(**model.args(**sizes, **args)),
        "checkpoint_version": 3.0,
        "iteration": 7,
    }
    here = folder / "iter_0000007"
    if form in ("torch", "torch_te"):
        stages = stages or [model.layers // (pp * vp)] * (pp * vp)
        _write_ranks(here, model, form == "torch_te", tp, pp, stages, common)
    else:
        megatron_dist.write_entries(here, _entries(model, form, tp), form, common)
    (folder / "latest_checkpointed_iteration.txt").write_text("7")
    return folder


def _write_ranks(
    here: Path,
    model: Llama,
    fused: bool,
    tp: int,
    pp: int,
    stages: Sequence[int],
    common: dict[str, Any],
) -> None:
    vp = len(stages) // pp
    for rank in range(tp):
        for stage in range(pp):
            state = dict(common)
            for chunk in range(vp):
                number = chunk * pp + stage
                flat: dict[str, torch.Tensor] = {}
                before = sum(stages[:number])
                for local in range(stages[number]):
                    for leaf, parts in model.layer(before + local, fused=fused).items():
                        name = f"decoder.layers.{local}.{leaf}"
                        flat[name] = shard(name, parts, rank, tp)
                for name, parts in model.ends().items():
                    first = name.startswith("embedding")
                    if number == (0 if first else pp * vp - 1):
                        flat[name] = shard(name, parts, rank, tp)
                state[f"model{chunk}" if vp > 1 else "model"] = flat
            save(state, here / rank_folder(rank, stage, pp) / "model_optim_rng.pt")


def _entries(model: Llama, form: str, tp: int) -> dict[str, list[megatron_dist.Chunk]]:
    entries: dict[str, list[megatron_dist.Chunk]] = {}
    fsdp = form == "fsdp_dtensor"
    prefix = megatron_dist.PREFIXES.get(form, "")
    for name, parts in model.ends().items():
        entries[prefix + name] = _chunks(name, parts, tp, fsdp)
    for number in range(model.layers):
        for leaf, parts in model.layer(number, fused=True).items():
            key = f"{prefix}decoder.layers.{number}.{leaf}"
            if form == "torch_dist":  # layers are stacked
                chunks = [((number, *at), t[None]) for at, t in _chunks(leaf, parts, tp, fsdp)]
                entries.setdefault(f"decoder.layers.{leaf}", []).extend(chunks)
            elif form in ("torch_dist_parts", "fsdp_dtensor") and len(parts) == 2:
                for tail, part in zip(("_w", "_v"), parts, strict=True):
                    entries[key + tail] = _chunks(leaf, [part], tp, fsdp)
            else:
                entries[key] = _chunks(leaf, parts, tp, fsdp)
    return entries


def _chunks(name: str, parts: list[torch.Tensor], tp: int, fsdp: bool) -> list[megatron_dist.Chunk]:
    """Of each part each rank's slice; FSDP cuts every tensor on axis 0, evenly or not."""
    axis = 0 if fsdp else axis_of(name)
    cut = parts if axis is None else [p for part in parts for p in part.tensor_split(tp, axis)]
    return list(megatron_dist.chunks([p.clone() for p in cut if p.numel()], axis or 0))
