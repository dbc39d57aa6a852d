"""Tiny Llamas, Qwens and Mistrals as Megatron core keeps them, for `write_checkpoint`.

`Llama.target` is what a right conversion must write, by its Hugging Face name; Megatron's tensors
are made from it one row at a time, independently of the converter.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

LAYOUTS = ("core", "core_te", "torch_dist", "torch_dist_layers", "torch_dcp", "fsdp_dtensor")
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

    @cached_property
    def tensors(self) -> Mapping[str, list[torch.Tensor]]:
        """The table's names, and the parts that each tensor consists of."""
        held = {
            "word_embeddings.weight": [self.target["model.embed_tokens.weight"]],
            "final_layernorm.weight": [self.target["model.norm.weight"]],
        }
        for n in range(self.layers):
            held |= {f"layers.{n}.{leaf}": parts for leaf, parts in self._layer(n).items()}
        if self.untied:
            held["output_layer.weight"] = [self.target["lm_head.weight"]]
        return held

    def _layer(self, n: int) -> dict[str, list[torch.Tensor]]:
        def of(*names: str) -> list[torch.Tensor]:
            return [self.target[f"model.layers.{n}.{name}.weight"] for name in names]

        held = {
            "input_layernorm.weight": of("input_layernorm"),
            "self_attention.linear_qkv.weight": [self.qkv(n, "weight")],
            "self_attention.linear_proj.weight": of("self_attn.o_proj"),
            "pre_mlp_layernorm.weight": of("post_attention_layernorm"),
            "mlp.linear_fc1.weight": of("mlp.gate_proj", "mlp.up_proj"),
            "mlp.linear_fc2.weight": of("mlp.down_proj"),
        }
        if self.bias:
            held["self_attention.linear_qkv.bias"] = [self.qkv(n, "bias")]
        for name in ("q", "k") if self.norm else ():
            held[f"self_attention.{name}_layernorm.weight"] = of(f"self_attn.{name}_norm")
        return held

    def parts(self, name: str) -> list[torch.Tensor]:
        return self.tensors[name]

    def axis(self, name: str) -> int | None:
        return AXES.get(name.split(".")[-2])

    def slices(self, name: str, rank: int, ranks: int) -> list[torch.Tensor]:
        """What a rank holds of each part; the parts themselves where nothing is cut."""
        axis, parts = self.axis(name), self.tensors[name]
        return parts if axis is None else [part.chunk(ranks, axis)[rank] for part in parts]

    def shard(self, name: str, rank: int, ranks: int, _: int) -> torch.Tensor:
        return torch.cat(self.slices(name, rank, ranks), self.axis(name) or 0).clone()
