"""Tensors as views over storages: every number a file gives is checked before it is used."""

from math import prod
from typing import Any

import numpy as np

from megaport.checkpoint.pickle_errors import BadPickleError, damaged
from megaport.checkpoint.records import Name, Unreadable
from megaport.checkpoint.storages import Storage
from megaport.errors import shown_text
from megaport.tensors import STORAGE, Tensor

MOST_DIMENSIONS = 8  # Megatron's have at most 4
MOST_ELEMENTS = 1 << 58
# torch.<dtype> names, for tensors over untyped storages (torch._utils._rebuild_tensor_v3).
_DTYPES: dict[str, str] = {
    "torch.float64": "F64",
    "torch.double": "F64",
    "torch.float32": "F32",
    "torch.float": "F32",
    "torch.float16": "F16",
    "torch.half": "F16",
    "torch.bfloat16": "BF16",
    "torch.int64": "I64",
    "torch.int32": "I32",
    "torch.int16": "I16",
    "torch.int8": "I8",
    "torch.uint8": "U8",
    "torch.bool": "BOOL",
}


def rebuild_tensor(where: str, args: tuple[Any, ...]) -> Tensor | Unreadable:
    """`torch._utils._rebuild_tensor{,_v2}(storage, offset, size, stride, grad, hooks, metadata)`.

    A view, no copy. What has no values to view (complex, quantized, negated) is `Unreadable`.
    """
    if len(args) < 4 or not isinstance(args[0], Storage):
        raise _bad_view(where, "a tensor that is not made from a storage")
    storage = args[0]
    return _view(where, storage, storage.dtype, storage.itemsize, args[1:4], args[6:7])


def rebuild_npu_tensor(where: str, args: tuple[Any, ...]) -> Tensor | Unreadable:
    """`torch_npu.utils.storage._rebuild_npu_tensor(storage, offset, size, stride, ..., format)`.

    The bytes are an ordinary tensor's; the format is that of the device they came from.
    """
    return rebuild_tensor(where, args[:6])


def rebuild_tensor_v3(where: str, args: tuple[Any, ...]) -> Tensor | Unreadable:
    """`_rebuild_tensor_v3(untyped storage, offset, size, stride, grad, hooks, dtype, metadata)`.

    Dtypes without a storage class of their own (FP8, unsigned integers) are `Unreadable`.
    """
    if len(args) < 7 or not isinstance(args[0], Storage) or not isinstance(args[6], Name):
        raise _bad_view(where, "a tensor that is not made from a storage and a dtype")
    dtype = _DTYPES.get(args[6].name)
    if dtype is None:
        _, shape, _ = _geometry(where, args[1:4])
        return Unreadable(args[6].name, reason=f"values of {args[6].name}", shape=shape)
    return _view(where, args[0], dtype, STORAGE[dtype].itemsize, args[1:4], args[7:8])


def _view(
    where: str,
    storage: Storage,
    dtype: str | None,
    itemsize: int,
    geometry: tuple[Any, ...],
    metadata: tuple[Any, ...],
) -> Tensor | Unreadable:
    numel = storage.numel * storage.itemsize // itemsize
    offset, shape, strides = _geometry(where, geometry)
    _check_extent(where, numel, offset, shape, strides)
    if dtype is None:
        return Unreadable(storage.name, reason=f"values of a {storage.name}", shape=shape)
    flags = _flags(where, metadata)
    if flags:
        reason = f"values that {' and '.join(flags)} is still to be applied to"
        return Unreadable(storage.name, reason=reason, shape=shape)
    if storage.body is None:
        return Unreadable(storage.name, reason="values not yet found", shape=shape)
    array: np.ndarray[Any, Any] = np.ndarray(
        shape,
        STORAGE[dtype],
        buffer=storage.body,
        # An empty view may start at the very end, where NumPy wants none to start.
        offset=offset * itemsize if prod(shape) else 0,
        strides=[stride * itemsize for stride in strides],
    )
    return Tensor(dtype, array)


def _flags(where: str, metadata: tuple[Any, ...]) -> list[str]:
    """What the bytes lack of the values: "neg" or "conj" (torch._utils.set_tensor_metadata)."""
    if not metadata or not metadata[0]:
        return []
    if not isinstance(metadata[0], dict):
        raise _bad_view(where, f"metadata of a tensor that is {shown_text(metadata[0])}")
    return sorted(shown_text(key) for key, value in metadata[0].items() if value is not False)


def _geometry(
    where: str, geometry: tuple[Any, ...]
) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    offset, shape, strides = geometry
    for sizes in (shape, strides):
        if not isinstance(sizes, tuple) or len(sizes) > MOST_DIMENSIONS:
            raise _bad_view(where, f"a shape or stride that is {shown_text(sizes)}")
    if len(shape) != len(strides):
        raise _bad_view(where, f"{len(shape)} sizes with {len(strides)} strides")
    for number in (offset, *shape, *strides):
        if type(number) is not int or not 0 <= number < MOST_ELEMENTS:
            raise _bad_view(where, f"an offset, size or stride of {shown_text(number)}")
    if prod(max(size, 1) for size in shape) >= MOST_ELEMENTS:
        raise _bad_view(where, f"a tensor of shape {shape}")
    return offset, shape, strides


def _check_extent(
    where: str, numel: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    count = prod(shape)
    last = offset
    for size, stride in zip(shape, strides, strict=True):
        last += (size - 1) * stride
    if offset > numel or (count and last >= numel):
        raise _bad_view(where, f"a tensor of shape {shape} at {offset} in a storage of {numel}")
    # A view may repeat elements by strides of 0; more than the storage holds is an amplification.
    if count > numel:
        raise _bad_view(where, f"a tensor of shape {shape} over only {numel} stored elements")


def _bad_view(where: str, seen: str) -> BadPickleError:
    return damaged(where, seen, "sizes, strides and offset that stay within the tensor's storage")
