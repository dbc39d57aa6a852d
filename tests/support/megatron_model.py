"""Tiny random GPT-2s as Megatron keeps them: whole, and as one tensor-parallel rank has them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from megaport.gpt2 import GPT2, QKV
from megaport.sizes import numbers_of

ORDERS = {0: "3,np,hn", 1: "np,hn,3", 2: "np,3,hn", 3: "np,3,hn"}
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}


@dataclass(frozen=True)
class Model:
    """Sizes of a tiny GPT-2 and its tensors, [3, heads, head size] rows in query_key_value.

    `tensors` are whole and keyed by canonical name; stored files hold another order of the QKV
    rows where `version` says so.
    """

    layers: int = 2
    hidden: int = 16
    heads: int = 4
    positions: int = 8
    padded: int = 32
    vocab: int = 30
    inner: int = 64
    dtype: str = "F32"
    untied: bool = False
    seed: int = 0
    tensors: Mapping[str, torch.Tensor] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        random = torch.Generator().manual_seed(self.seed)
        sizes = {"H": self.hidden, "F": self.inner, "P": self.positions, "V": self.padded}
        object.__setattr__(
            self,
            "tensors",
            {
                row.megatron: (
                    torch.randn(numbers_of(row.megatron_shape, sizes), generator=random) * 0.1
                ).to(DTYPES[self.dtype])
                for row in GPT2.rows(self.layers, tied=not self.untied)
            },
        )

    def shard(self, name: str, rank: int, ranks: int, version: int) -> torch.Tensor:
        """What tensor-parallel `rank` of `ranks` stores under the canonical `name`."""
        whole = self.tensors[name]
        if QKV in name:
            return self._qkv(whole, rank, ranks, version)
        axis = GPT2.row(name).axis
        return whole if axis is None else whole.chunk(ranks, axis)[rank].clone()

    def _qkv(self, whole: torch.Tensor, rank: int, ranks: int, version: int) -> torch.Tensor:
        split = whole.reshape(3, self.heads, self.hidden // self.heads, *whole.shape[1:])
        mine = split.chunk(ranks, 1)[rank]
        axes = [("3", "np", "hn").index(axis) for axis in ORDERS[version].split(",")]
        return mine.permute(*axes, *range(3, mine.dim())).reshape(-1, *whole.shape[1:]).clone()

    def args(self, **more: Any) -> dict[str, Any]:
        """The arguments that say these sizes, by the names Megatron has had since 2021."""
        return {
            "num_layers": self.layers,
            "hidden_size": self.hidden,
            "ffn_hidden_size": self.inner,
            "num_attention_heads": self.heads,
            "max_position_embeddings": self.positions,
            "padded_vocab_size": self.padded,
            "vocab_size": self.vocab,
            "layernorm_epsilon": 1e-5,
            "openai_gelu": False,
            "bias_gelu_fusion": True,
            "untie_embeddings_and_output_weights": self.untied,
            **more,
        }
