"""A tensor as bytes: a dtype name and a view, whatever the dtype. No torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# safetensors' dtype names (its README) and the NumPy dtype that carries their bytes;
# NumPy has no bfloat16, so BF16 travels as uint16 and is only ever moved or widened.
STORAGE: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
# Of a float torch's name, which config.yaml's `dtype` and config.json say.
TORCH_NAME = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
BY_TORCH_NAME = {name: dtype for dtype, name in TORCH_NAME.items()}
FLOATS = frozenset(TORCH_NAME)


@dataclass(frozen=True)
class Tensor:
    """A (possibly strided) view over a memory map, shape `array.shape`, elements of `dtype`."""

    dtype: str
    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def nbytes(self) -> int:
        return int(self.array.size) * STORAGE[self.dtype].itemsize


def widen(tensor: Tensor) -> NDArray[np.float32]:
    """The values as float32 (exact for F16, BF16 and F32; rounded for F64)."""
    if tensor.dtype == "BF16":
        return (tensor.array.astype(np.uint32) << 16).view(np.float32)
    return tensor.array.astype(np.float32)


def total_bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
