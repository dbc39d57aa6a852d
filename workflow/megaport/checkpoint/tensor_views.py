"""Tensors as views over storages: every number a file gives is checked before it is used."""

from math import prod
from typing import Any

import numpy as np

from megaport.checkpoint.pickle_errors import BadPickleError, damaged, shown
from megaport.checkpoint.records import Record, Reference
from megaport.checkpoint.storages import DTYPES, Storage
from megaport.tensors import STORAGE, Tensor

MOST_DIMENSIONS = 32  # NumPy 1's limit; Megatron's have at most 4


def rebuild_tensor(where: str, args: tuple[Any, ...]) -> Tensor | Record:
    """`torch._utils._rebuild_tensor{,_v2}(storage, offset, size, stride, ...)`: a view, no copy.

    A storage of a kind that has no safetensors dtype here (complex, quantized) gives a Record.
    """
    if len(args) < 4 or not isinstance(args[0], Storage):
        raise _bad_view(where, "a tensor that is not made from a storage")
    storage = args[0]
    return _view(where, storage, storage.dtype, storage.itemsize, args[1:4])


def rebuild_tensor_v3(where: str, args: tuple[Any, ...]) -> Tensor | Record:
    """`_rebuild_tensor_v3(untyped storage, offset, size, stride, grad, hooks, dtype, ...)`.

    Dtypes without a storage class of their own (FP8, unsigned integers) give a Record.
    """
    if len(args) < 7 or not isinstance(args[0], Storage) or not isinstance(args[6], Reference):
        raise _bad_view(where, "a tensor that is not made from a storage and a dtype")
    dtype = DTYPES.get(args[6].name)
    if dtype is None:
        return Record(args[6].name, args=(args[2],))
    return _view(where, args[0], dtype, STORAGE[dtype].itemsize, args[1:4])


def _view(
    where: str, storage: Storage, dtype: str | None, itemsize: int, geometry: tuple[Any, ...]
) -> Tensor | Record:
    numel = storage.numel * storage.itemsize // itemsize
    offset, shape, strides = _geometry(where, geometry)
    _check_extent(where, numel, offset, shape, strides)
    if dtype is None or storage.body is None:
        return Record(storage.name, args=(shape,))
    array: np.ndarray[Any, Any] = np.ndarray(
        shape,
        STORAGE[dtype],
        buffer=storage.body,
        # An empty view may start at the very end, where NumPy wants none to start.
        offset=offset * itemsize if prod(shape) else 0,
        strides=[stride * itemsize for stride in strides],
    )
    return Tensor(dtype, array)


def _geometry(
    where: str, geometry: tuple[Any, ...]
) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    offset, shape, strides = geometry
    for sizes in (shape, strides):
        if not isinstance(sizes, tuple) or len(sizes) > MOST_DIMENSIONS:
            raise _bad_view(where, f"a shape or stride that is {shown(sizes)}")
    if len(shape) != len(strides):
        raise _bad_view(where, f"{len(shape)} sizes with {len(strides)} strides")
    for number in (offset, *shape, *strides):
        if type(number) is not int or not 0 <= number < 1 << 58:
            raise _bad_view(where, f"an offset, size or stride of {shown(number)}")
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
