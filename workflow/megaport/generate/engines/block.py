"""One token a row through a layer in one call: what decoding on a CPU costs beside reading weights.

As torch's operators, a layer is twelve calls and as many meetings of threads.
"""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from megaport.generate.engines import native
from megaport.generate.model_files import Shape

# The largest head that block.cpp has room for.
LARGEST_HEAD = 512


class _Sizes(ctypes.Structure):
    """block.cpp's Sizes."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("rows", "hidden", "heads", "inner", "slots")),
        *((name, ctypes.c_int64) for name in ("slot", "span", "mask_stride", "tanh", "threads")),
        ("epsilon", ctypes.c_float),
    ]


class DecodeStep:
    """The sizes of one decode step and the memory it works in, the same for all layers."""

    def __init__(self, shape: Shape, rows: int, slots: int, dtype: torch.dtype) -> None:
        self.sizes = _Sizes(
            rows=rows,
            hidden=shape.hidden,
            heads=shape.heads,
            inner=shape.inner,
            slots=slots,
            tanh=shape.gelu == "tanh",
            epsilon=shape.epsilon,
        )
        floats = rows * (3 * shape.hidden + 2 * shape.inner + shape.heads * slots)
        self.scratch = torch.empty(floats)
        self.run = getattr(native.library(), native.BLOCKS[dtype])

    def at(self, slot: int, mask: Tensor) -> None:
        """The next token's keys go to `slot`; `mask` [rows, 1, 1, span] says what is read."""
        sizes = self.sizes
        sizes.slot, sizes.span, sizes.mask_stride = slot, mask.shape[3], mask.stride(0)
        sizes.threads = torch.get_num_threads()


class Block:
    """One layer's tensors, as block.cpp takes them: norm1, qkv, out, norm2, up, down, each a weight
    and a bias, contiguous and of one dtype."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = [tensor.contiguous() for tensor in tensors]
        self.table = (ctypes.c_void_p * len(tensors))(*(t.data_ptr() for t in self.tensors))

    def __call__(self, step: DecodeStep, x: Tensor, cache: Tensor, mask: Tensor) -> None:
        """Add the layer to x, float32 [rows, hidden], in place; `cache` takes the token's keys and
        values, [rows, 2, heads, slots, head size]; `mask` is added to scores."""
        given = (x, cache, mask, step.scratch)
        pointers = (ctypes.c_void_p(tensor.data_ptr()) for tensor in given)
        step.run(self.table, ctypes.byref(step.sizes), *pointers)
