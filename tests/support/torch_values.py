"""Our tensors against torch's, bit for bit."""

from typing import Any

import numpy as np
import torch

from megaport.tensors import Tensor

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


def same(ours: Any, theirs: torch.Tensor) -> bool:
    """Equal shape, dtype and bits."""
    if not isinstance(ours, Tensor) or DTYPES[ours.dtype] != theirs.dtype:
        return False
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}.get(theirs.element_size(), torch.uint8)
    raw = theirs.contiguous().view(bits).numpy()
    mine = np.ascontiguousarray(ours.array).reshape(ours.shape)
    return ours.shape == tuple(theirs.shape) and mine.tobytes() == raw.tobytes()
