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
    kind = _OneDnn if weight.device.type == "cpu" and one_dnn_takes(weight.dtype) else Plain
    return kind(weight.contiguous(), bias, gelu)


def one_dnn_takes(dtype: torch.dtype) -> bool:
    """Whether this CPU has the instructions that oneDNN's kernels of `dtype` are made of.

    For FP16 these are AVX512-FP16 or AVX-NE-CONVERT, for BF16 AVX-512 or AVX-NE-CONVERT: without,
    mkldnn_reorder_linear_weight raises RuntimeError and says so (torch 2.13).
    """
    if not torch.backends.mkldnn.is_available():
        return False
    halves = {
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported,
        torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported,
    }
    return dtype not in halves or bool(halves[dtype]())


class Plain:
    """torch's own linear layer over `weight` [out, in]."""

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
