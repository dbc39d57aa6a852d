"""Tiny random GPT-2s as Megatron keeps them: whole, as a rank has them, by each era's names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from megaport.gpt2 import GPT2, QKV
from megaport.sizes import numbers_of
from megaport.table import Row, split_layer
from megaport.tensors import STORAGE, Tensor

ORDERS = {0: "3,np,hn", 1: "np,hn,3", 2: "np,3,hn", 3: "np,3,hn"}
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

_CORE = {
    "attention.query_key_value": "self_attention.linear_qkv",
    "attention.dense": "self_attention.linear_proj",
    "mlp.dense_h_to_4h": "mlp.linear_fc1",
    "mlp.dense_4h_to_h": "mlp.linear_fc2",
    "input_layernorm": "input_layernorm",
    "post_attention_layernorm": "pre_mlp_layernorm",
}
_FUSED = {
    "input_layernorm.": "self_attention.linear_qkv.layer_norm_",
    "post_attention_layernorm.": "mlp.linear_fc1.layer_norm_",
    "pre_mlp_layernorm.": "mlp.linear_fc1.layer_norm_",
}


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(_BITS[tensor.element_size()])


def as_torch(tensor: Tensor) -> torch.Tensor:
    """A copy, bit for bit, in torch's dtype."""
    whole = np.array(tensor.array, order="C").view(f"i{STORAGE[tensor.dtype].itemsize}")
    return torch.from_numpy(whole).view(DTYPES[tensor.dtype])


def as_tensor(tensor: torch.Tensor) -> Tensor:
    """The same bits as the reader gives them."""
    dtype = next(name for name, theirs in DTYPES.items() if theirs == tensor.dtype)
    return Tensor(dtype, bits(tensor).numpy().view(STORAGE[dtype]))


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
    inner: int = 0  # 4 x hidden
    dtype: str = "F32"
    untied: bool = False
    seed: int = 0
    tensors: Mapping[str, torch.Tensor] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Every part matters: norms and biases are as random as the matrices."""
        random = torch.Generator().manual_seed(self.seed)
        object.__setattr__(self, "inner", self.inner or 4 * self.hidden)
        sizes = {"H": self.hidden, "F": self.inner, "P": self.positions, "V": self.padded}

        def draw(row: Row) -> torch.Tensor:
            shape = numbers_of(row.megatron_shape, sizes)
            if row.is_norm_scale:
                return torch.rand(shape, generator=random) * 1.2 + 0.4
            width = 0.1 if len(shape) == 1 else 0.2 / (shape[-1] / 32) ** 0.5
            return torch.randn(shape, generator=random) * width

        rows = GPT2.rows(self.layers, tied=not self.untied)
        tensors = {row.megatron: draw(row).to(DTYPES[self.dtype]) for row in rows}
        object.__setattr__(self, "tensors", tensors)

    def shard(self, name: str, rank: int, ranks: int, version: int) -> torch.Tensor:
        """What tensor-parallel `rank` of `ranks` stores under the canonical `name`."""
        whole = self.tensors[name]
        if QKV in name:
            return self._qkv(whole, rank, ranks, version)
        axis = self.axis(name)
        return whole if axis is None else whole.chunk(ranks, axis)[rank].clone()

    def axis(self, name: str) -> int | None:
        """Where tensor parallelism cuts."""
        return GPT2.row(name).axis

    def parts(self, name: str) -> list[torch.Tensor]:
        """The tensor as Megatron core holds it: of a Llama's some are two, each of them cut."""
        return [self.shard(name, 0, 1, 3)]

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


def layer_leaf(leaf: str, names: str) -> str:
    """`leaf` of a layer in one of: transformer, encoder, input_norm, core, core_te."""
    module, kind = leaf.rsplit(".", 1)
    if names == "core_te" and f"{module}." in _FUSED:
        return _FUSED[f"{module}."] + kind
    if names.startswith("core"):
        return f"{_CORE.get(module, module)}.{kind}"
    if names != "transformer" and leaf.startswith("attention."):
        leaf = f"self_{leaf}"
    return leaf.replace("layernorm", "norm") if names == "input_norm" else leaf


def legacy_name(name: str, names: str, layer: int | None) -> str:
    """The dotted path under `model` in a rank file; `layer` is the number within its stage."""
    place = split_layer(name)
    stack = "transformer" if names in ("transformer", "flat") else "encoder"
    outer = "" if names == "flat" else "language_model."
    if place:
        leaf = layer_leaf(place[1], "transformer" if names == "flat" else names)
        return f"{outer}{stack}.layers.{layer}.{leaf}"
    if name.startswith("final"):
        final = name.replace("layernorm", "norm") if names == "input_norm" else name
        return f"{outer}{stack}.{final}"
    if name == "output_layer.weight":
        return f"{outer}{name}"
    return name if names == "flat" else f"{outer}embedding.{name}"


def core_name(name: str, names: str, layer: int | None) -> str:
    """The flat key under `model`, in `torch_dist` and in `torch_dcp`; layer None: stacked."""
    place = split_layer(name)
    if place:
        number = "" if layer is None else f"{layer}."
        return f"decoder.layers.{number}{layer_leaf(place[1], names)}"
    if name.startswith("final"):
        return f"decoder.{name}"
    return name if name == "output_layer.weight" else f"embedding.{name}"
