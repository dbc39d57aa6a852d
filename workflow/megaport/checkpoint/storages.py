"""Tensors as views over storages, the flat arrays of elements that torch files hold.

Every number that a file gives is checked before it is used.
"""

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

from megaport.checkpoint.records import Name, Record, Unreadable, damaged
from megaport.errors import shown_text
from megaport.tensors import STORAGE, TORCH_NAME, Tensor

MOST_DIMENSIONS = 8  # Megatron's have at most 4
MOST_ELEMENTS = 1 << 58
# torch.<dtype>, its storage class and safetensors' name of it; torch.storage of torch 2.x has them.
DTYPES = {
    **{f"torch.{name}": dtype for dtype, name in TORCH_NAME.items()},
    "torch.int64": "I64",
    "torch.int32": "I32",
    "torch.int16": "I16",
    "torch.int8": "I8",
    "torch.uint8": "U8",
    "torch.bool": "BOOL",
}
KINDS = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "UntypedStorage": "U8",
    "_UntypedStorage": "U8",
}
# Bytes per element of storages that no weight we can read has.
_OTHER_KINDS = {
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QInt32Storage": 4,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
}
_bad_id = partial(damaged, expected="a persistent id of a torch storage")
_bad_view = partial(
    damaged, expected="sizes, strides and offset that stay within the tensor's storage"
)
_MODULES = ("torch", "torch.cuda", "torch.storage")


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Storage(Record):
    """`numel` elements of `itemsize` bytes; `dtype` is None for those that we cannot read.

    `part` is (offset, numel) of the elements that are meant, where not all are. `body` holds the
    whole storage's bytes, or is None while it is not known where they lie.
    """

    key: str = ""
    dtype: str | None = None
    itemsize: int = 1
    numel: int = 0
    part: tuple[int, int] | None = None
    body: memoryview | None = None

    @property
    def nbytes(self) -> int:
        return self.numel * self.itemsize


def storage_of(where: str, said: Any) -> Storage:
    """What a persistent id ("storage", class, key, location, numel[, (key, offset, numel)]) says.

    torch's legacy files have the sixth part (`torch.serialization._legacy_save`).
    Raises `BadPickleError` when it is not one.
    """
    if not isinstance(said, tuple) or len(said) not in (5, 6) or said[0] != "storage":
        raise _bad_id(where, f"a persistent id that is {shown_text(said)}, or not of a storage")
    _, kind, key, location, numel, part = said if len(said) == 6 else (*said, None)
    if not isinstance(key, str) or not isinstance(location, str):
        raise _bad_id(where, "a storage whose key or location is not text")
    module, _, name = kind.name.rpartition(".") if isinstance(kind, Name) else ("", "", "")
    if module not in _MODULES or not (name in KINDS or name in _OTHER_KINDS):
        raise _bad_id(where, f"a storage of class {shown_text(name or kind)}")
    dtype, count = KINDS.get(name), _count(where, numel)
    return Storage(
        f"torch.{name}",
        key=key,
        dtype=dtype,
        itemsize=STORAGE[dtype].itemsize if dtype else _OTHER_KINDS[name],
        numel=count,
        part=_part(where, part, count),
    )


def _part(where: str, part: Any, most: int) -> tuple[int, int] | None:
    if part is None:
        return None
    if not isinstance(part, tuple) or len(part) != 3 or not isinstance(part[0], str):
        raise _bad_id(where, f"a storage view that is {shown_text(part)}")
    offset, numel = _count(where, part[1]), _count(where, part[2])
    if offset + numel > most:
        raise _bad_id(where, f"a view of {numel} elements at {offset} in a storage of {most}")
    return offset, numel


def _count(where: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value < MOST_ELEMENTS:
        raise _bad_id(where, f"a storage size or offset of {shown_text(value)}")
    return value


def shape_of(value: Any, least: int = 0) -> tuple[int, ...] | None:
    """A shape or offsets that a file gives as a list or tuple; None where no tensor has them.

    Each number is at least `least`.
    """
    if not isinstance(value, list | tuple) or len(value) > MOST_DIMENSIONS:
        return None
    fits = all(type(n) is int and least <= n < MOST_ELEMENTS for n in value)
    return tuple(value) if fits else None


def rebuild_tensor(where: str, args: tuple[Any, ...]) -> Tensor | Unreadable:
    """`torch._utils._rebuild_tensor{,_v2}(storage, offset, size, stride, grad, hooks, metadata)`.

    A view, no copy. What has no values to view (complex, quantized, negated) is `Unreadable`.
    """
    if len(args) < 4 or not isinstance(args[0], Storage):
        raise _bad_view(where, "a tensor that is not made from a storage")
    return _view(where, args[0], args[0].dtype, args[1:4], args[6:7])


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
    if args[6].name not in DTYPES:
        _, shape, _ = _geometry(where, args[1:4])
        return Unreadable(args[6].name, reason=f"values of {args[6].name}", shape=shape)
    return _view(where, args[0], DTYPES[args[6].name], args[1:4], args[7:8])


def _view(
    where: str,
    storage: Storage,
    dtype: str | None,
    geometry: tuple[Any, ...],
    metadata: tuple[Any, ...],
) -> Tensor | Unreadable:
    itemsize = STORAGE[dtype].itemsize if dtype else storage.itemsize
    skipped, count = storage.part or (0, storage.numel)
    offset, shape, strides = _geometry(where, geometry)
    _check_extent(where, count * storage.itemsize // itemsize, offset, shape, strides)
    reason = _unreadable(where, storage, dtype, metadata)
    if reason or dtype is None:
        return Unreadable(storage.name, reason=reason, shape=shape)
    # An empty view may start at the very end, where NumPy wants none to start.
    start = (skipped * storage.itemsize + offset * itemsize) if prod(shape) else 0
    array: np.ndarray[Any, Any] = np.ndarray(
        shape, STORAGE[dtype], storage.body, start, [stride * itemsize for stride in strides]
    )
    return Tensor(dtype, array)


def _unreadable(where: str, storage: Storage, dtype: str | None, metadata: tuple[Any, ...]) -> str:
    """Why the bytes are not the values: what they are of, or "neg" and "conj" still to be applied.

    (`torch._utils.set_tensor_metadata`.)
    """
    if dtype is None:
        return f"values of a {storage.name}"
    said = metadata[0] if metadata else None
    if said and not isinstance(said, dict):
        raise _bad_view(where, f"metadata of a tensor that is {shown_text(said)}")
    flags = sorted(shown_text(key) for key, value in (said or {}).items() if value is not False)
    if flags:
        return f"values that {' and '.join(flags)} is still to be applied to"
    return "values not yet found" if storage.body is None else ""


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
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if offset > numel or (count and last >= numel):
        raise _bad_view(where, f"a tensor of shape {shape} at {offset} in a storage of {numel}")
    # A view may repeat elements by strides of 0; more than the storage holds is an amplification.
    if count > numel:
        raise _bad_view(where, f"a tensor of shape {shape} over only {numel} stored elements")
