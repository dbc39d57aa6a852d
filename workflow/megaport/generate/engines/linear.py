"""Linear layers packed once at load, for the one shape that decoding has: few rows, all weights.

GPT-2 stores (in, out), which costs a strided walk over the weights at every token; these take
(out, in), as Megatron has it. On a CPU what reads them fastest differs by processor and dtype, so
what there is is tried at load and the best is taken.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional

from megaport.generate.engines import native
from megaport.generate.engines.pages import on_huge_pages

TRIAL_ROWS, TRIAL_REPEATS = (1, 16), 3
# What both layouts must save of the time to be worth the memory of both.
WORTH_TWICE = 0.85
# More rows than decoding has are a prompt's, which torch multiplies best.
FEW_ROWS = 32


class Linear(Protocol):
    """x [..., in] -> [..., out]: a product, its bias, then GELU or `residual` added."""

    name: str
    block_rows: int  # of how many rows block.cpp runs the whole layer, on `plain`'s tensors

    def __init__(self, weight: Tensor, bias: Tensor | None, gelu: str) -> None:
        """`weight` [out, in]; `gelu` is "" or torch's `approximate`, and then takes no residual."""

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor: ...


def usual(device: str, dtype: torch.dtype) -> type[Linear]:
    """The kind of Linear that is taken untried."""
    return Packed if device == "cpu" and one_dnn_takes(dtype) else Plain


def candidates(dtype: torch.dtype) -> list[type[Linear]]:
    """The kinds of Linear that can run on this CPU."""
    kinds = [usual("cpu", dtype), Plain, *([Native] if native_takes(dtype) else [])]
    return list(dict.fromkeys(kinds))


def fastest(
    kinds: list[type[Linear]], trial: Callable[[type[Linear]], Callable[[int], object]], size: int
) -> tuple[type[Linear], str]:
    """The kind that is best for one row and for many, and what each of them read, in GB/s, for the
    record. `trial` makes layers of a kind, with `size` bytes of weights, that run so many rows."""
    seconds = {kind: _times(trial(kind)) for kind in kinds}
    rates = {k.name: [f"{size / s / 1e9:.1f}" for s in seconds[k]] for k in kinds}
    said = ", ".join(f"{name} {one} and {many}" for name, (one, many) in rates.items())
    best = min(kinds, key=lambda kind: seconds[kind][0] * seconds[kind][1])
    if {Native, Packed} <= seconds.keys():
        both = seconds[Native][0] * seconds[Packed][1]
        if both < WORTH_TWICE * seconds[best][0] * seconds[best][1]:
            return Both, said
    return best, said


def _times(run: Callable[[int], object]) -> list[float]:
    """Seconds for one row and for many; the best of a few, the first left out."""
    return [min([_time(run, rows) for _ in range(TRIAL_REPEATS + 1)][1:]) for rows in TRIAL_ROWS]


def _time(run: Callable[[int], object], rows: int) -> float:
    start = time.perf_counter()
    run(rows)
    return time.perf_counter() - start


def native_takes(dtype: torch.dtype) -> bool:
    """Whether a compiler made product.cpp here, and it knows the dtype."""
    try:
        return dtype in native.PRODUCTS and bool(native.library())
    except native.NativeError:
        return False


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


def plain(layer: Linear) -> "Plain":
    """The layer, or that part of it, which keeps `weight` [out, in] as it is."""
    return layer.one if isinstance(layer, Both) else cast(Plain, layer)


class Plain:
    """torch's own linear layer over `weight` [out, in]."""

    name, block_rows = "torch's linear", 0

    def __init__(self, weight: Tensor, bias: Tensor | None, gelu: str) -> None:
        self.weight = weight if weight.is_contiguous() else on_huge_pages(weight)
        self.bias, self.gelu = bias, gelu

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        out = functional.linear(x, self.weight, self.bias)
        if self.gelu:
            return functional.gelu(out, approximate=self.gelu)
        return out if residual is None else out.add_(residual)


class Native(Plain):
    """product.cpp for few rows, oneDNN's for a prompt's, on the same weights."""

    name, block_rows = "compiled here", FEW_ROWS

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        if x.numel() <= FEW_ROWS * x.shape[-1]:
            out = native.product(self.weight, self.bias, x, residual)
            return functional.gelu(out, approximate=self.gelu) if self.gelu else out
        if one_dnn_takes(self.weight.dtype):
            # On an AMD EPYC in float32 2.2 times as fast as torch's own choice, which is MKL's.
            return _one_dnn(self.weight, self.bias, self.gelu, x, residual)
        return super().__call__(x, residual)


class Packed:
    """oneDNN's blocked layout, by the operators that torch's Inductor calls."""

    name, block_rows = "packed by oneDNN", 0

    def __init__(self, weight: Tensor, bias: Tensor | None, gelu: str) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 1)
        self.bias, self.gelu = bias, gelu

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        return _one_dnn(self.weight, self.bias, self.gelu, x, residual)


def _one_dnn(
    weight: Tensor, bias: Tensor | None, gelu: str, x: Tensor, residual: Tensor | None
) -> Tensor:
    linear = torch.ops.mkldnn._linear_pointwise
    post: tuple[Any, ...] = ("gelu", [], gelu) if gelu else ("none", [], "")
    out: Tensor
    if residual is None:
        out = linear(x, weight, bias, *post)
    else:
        out = linear.binary(x, residual, weight, bias, "add")
    return out


class Both:
    """Compiled here for one row, packed by oneDNN for more: twice the memory."""

    name, block_rows = "compiled here for one row, packed by oneDNN for more", 1

    def __init__(self, weight: Tensor, bias: Tensor | None, gelu: str) -> None:
        self.one, self.many = Native(weight, bias, gelu), Packed(weight, bias, gelu)

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        layer = self.one if x.numel() == x.shape[-1] else self.many
        return layer(x, residual)
