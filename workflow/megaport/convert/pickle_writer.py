"""Writes pickles of exactly the structures Megatron checkpoints hold; names classes, imports none.

Protocol 2, as torch.save writes it (its `DEFAULT_PROTOCOL`), without a memo: every value is spelled
out where it stands, so equal trees give equal bytes.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from megaport.tensors import STORAGE, Array

STORAGE_CLASS = {
    "F64": "DoubleStorage",
    "F32": "FloatStorage",
    "F16": "HalfStorage",
    "BF16": "BFloat16Storage",
}


@dataclass(frozen=True)
class Global:
    """A class, function or dtype by its name, e.g. Global("torch", "float16")."""

    module: str
    name: str


@dataclass(frozen=True)
class Instance:
    """An object made by `cls.__new__(cls)` and given `state` as its `__dict__`."""

    cls: Global
    state: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Leaf:
    """A contiguous tensor whose bytes are asked for only when they are written.

    `read` yields C-contiguous chunks of `STORAGE[dtype]` that together are the tensor in order.
    One Leaf met twice is one storage, as tied weights are in torch's own files.
    """

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Iterator[Array]] = field(repr=False)

    @property
    def numel(self) -> int:
        count = 1
        for length in self.shape:
            count *= length
        return count

    @property
    def nbytes(self) -> int:
        return self.numel * STORAGE[self.dtype].itemsize


def leaf_bytes(leaf: Leaf) -> Iterator[memoryview]:
    """The chunks of a leaf as bytes."""
    for chunk in leaf.read():
        yield chunk.data.cast("B")


class Pickler:
    """Turns a tree into one pickle; `leaves` then holds its tensors, each keyed by its index."""

    # The dialect before torch 1.6 ends a storage's identity with the view it is, always None here.
    identity_end: tuple[Any, ...] = ()

    def __init__(self) -> None:
        self.leaves: list[Leaf] = []

    def dump(self, tree: Any) -> bytes:
        """PROTO 2, the tree, STOP. Raises TypeError for a value no checkpoint holds."""
        return b"\x80\x02" + self._value(tree) + b"."

    def _value(self, value: Any) -> bytes:
        match value:
            case None | True | False:
                return {None: b"N", True: b"\x88", False: b"\x89"}[value]
            case int():
                return _integer(value)
            case float():
                return b"G" + struct.pack(">d", value)
            case str():
                encoded = value.encode()
                return b"X" + struct.pack("<I", len(encoded)) + encoded
            case Leaf():
                return self._tensor(value)
            case Global():
                return f"c{value.module}\n{value.name}\n".encode()
            case Instance():
                return self._value(value.cls) + b")\x81" + self._value(dict(value.state)) + b"b"
            case _:
                return self._container(value)

    def _container(self, value: Any) -> bytes:
        if isinstance(value, Mapping):
            items = b"".join(self._value(k) + self._value(v) for k, v in value.items())
            return b"}(" + items + b"u"
        if isinstance(value, list):
            return b"](" + b"".join(self._value(item) for item in value) + b"e"
        if isinstance(value, tuple):
            return b"(" + b"".join(self._value(item) for item in value) + b"t"
        raise TypeError(f"{type(value).__name__} has no place in a checkpoint")

    def _tensor(self, leaf: Leaf) -> bytes:
        """`_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`."""
        storage = Global("torch", STORAGE_CLASS[leaf.dtype])
        identity = ("storage", storage, self._key(leaf), "cpu", leaf.numel, *self.identity_end)
        hooks = self._value(Global("collections", "OrderedDict")) + b")R"
        rest = (0, leaf.shape, _strides(leaf.shape), False)
        arguments = (
            self._value(identity) + b"Q" + b"".join(self._value(item) for item in rest) + hooks
        )
        rebuild = self._value(Global("torch._utils", "_rebuild_tensor_v2"))
        return rebuild + b"(" + arguments + b"tR"

    def _key(self, leaf: Leaf) -> str:
        if leaf not in self.leaves:
            self.leaves.append(leaf)
        return str(self.leaves.index(leaf))


class LegacyPickler(Pickler):
    """The dialect before torch 1.6."""

    identity_end = (None,)


def _integer(value: int) -> bytes:
    if 0 <= value < 1 << 8:
        return b"K" + bytes([value])
    if 0 <= value < 1 << 16:
        return b"M" + struct.pack("<H", value)
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    length = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([length]) + value.to_bytes(length, "little", signed=True)


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= length
    return tuple(reversed(strides))
