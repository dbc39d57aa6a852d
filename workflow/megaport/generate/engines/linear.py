"""Linear layers packed once at load, for the one shape that decoding has: few rows, all weights.

GPT-2 stores (in, out), which costs a strided walk over the weights at every token; these take
(out, in), as Megatron has it. On a CPU oneDNN's own blocked layout is used (the operators
that torch's Inductor calls): it reads weights at memory speed for one row and for many.
"""

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional


class Linear(Protocol):
    """x [..., in] -> [..., out]: a product, its bias, then GELU or `residual` added."""

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor: ...


def pack(weight: Tensor, bias: Tensor | None, gelu: str = "") -> Linear:
    """A Linear of `weight` [out, in], on its device and in its dtype.

    `gelu` is "" or torch's `approximate` ("tanh", "none"); such a layer takes no residual.
    """
    if weight.device.type == "cpu" and torch.backends.mkldnn.is_available():
        return _OneDnn(weight.contiguous(), bias, gelu)
    return _Plain(weight.contiguous(), bias, gelu)


class _Plain:
    def __init__(self, weight: Tensor, bias: Tensor | None, gelu: str) -> None:
        self.weight, self.bias, self.gelu = weight, bias, gelu

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        out = functional.linear(x, self.weight, self.bias)
        if self.gelu:
            return functional.gelu(out, approximate=self.gelu)
        return out if residual is None else out.add_(residual)


class _OneDnn:
    def __init__(self, weight: Tensor, bias: Tensor | None, gelu: str) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, 1)
        self.bias = bias
        self.post: tuple[Any, ...] = ("gelu", [], gelu) if gelu else ("none", [], "")

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        linear = torch.ops.mkldnn._linear_pointwise
        out: Tensor
        if residual is None:
            out = linear(x, self.weight, self.bias, *self.post)
        else:
            out = linear.binary(x, residual, self.weight, self.bias, "add")
        return out
